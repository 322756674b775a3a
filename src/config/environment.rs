//! An environment variable is looked up by its name, or refused in one clear line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits::LONGEST_TIMEOUT;
use crate::log::Level;

/// A setting that cannot be used: which, what it holds, and what it takes.
#[derive(Debug)]
pub struct ConfigError {
    variable: String,
    /// `None` for what must not be shown.
    value: Option<String>,
    takes: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        if let Some(value) = &self.value {
            write!(f, "={value:?}")?;
        }
        write!(f, " cannot be used: {}", self.takes)
    }
}

impl ConfigError {
    fn new(variable: &str, value: &OsStr, takes: &str) -> Self {
        let (variable, takes) = (variable.to_owned(), takes.to_owned());
        Self { variable, value: Some(value.to_string_lossy().into_owned()), takes }
    }
}

pub(super) struct Environment<'a> {
    /// Looks a variable up; tests pass their own.
    pub(super) lookup: &'a dyn Fn(&str) -> Option<OsString>,
}

const LEVEL_TAKES: &str = "it takes DEBUG, INFO, WARNING or ERROR";
const FILE_TAKES: &str = "it takes the path of a file, without control characters and without a blank at its end; unset it where there is none";
/// What a field of a header carries whoever sends it (RFC 9110, section 5.5), in a head of usual size.
const TOKEN_TAKES: &str = "it takes up to 4096 visible ASCII characters and blanks between them; no client can send anything else in a header";
const MAX_TOKEN_BYTES: usize = 4096;
/// What a text field of one line takes in a browser, and what comes back of it in a query.
const VERIFY_TOKEN_TAKES: &str =
    "it takes up to 4096 bytes of text without control characters; Meta's dashboard can be told nothing else";
/// What the file of a setting may hold: more than any secret or token has. A device has no end.
const MAX_FILE_BYTES: u64 = 64 << 10;

impl Environment<'_> {
    /// What is set; a variable that is set but empty counts as unset, as compose files leave it.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A value that `parse` must accept.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        default: &str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.get(name).unwrap_or_else(|| default.into());
        value.to_str().and_then(parse).ok_or_else(|| ConfigError::new(name, &value, takes))
    }

    pub(super) fn number(&self, name: &str, default: usize, largest: usize) -> Result<usize, ConfigError> {
        let takes = format!("it takes a whole number from 1 to {largest}");
        let parse = |text: &str| text.parse().ok().filter(|number| (1..=largest).contains(number));
        self.parsed(name, &default.to_string(), &takes, parse)
    }

    pub(super) fn seconds(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        let seconds = self.number(name, default.as_secs() as usize, LONGEST_TIMEOUT.as_secs() as usize)?;
        Ok(Duration::from_secs(seconds as u64))
    }

    /// A path that can be meant: one that ends in a blank or holds a control character has come out of a file
    /// with the wrong line ends, and names another file than the one that is there.
    fn file(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = (self.lookup)(name) else {
            return Ok(None);
        };
        match can_be_meant(&path) {
            true => Ok(Some(PathBuf::from(path))),
            false => Err(ConfigError::new(name, &path, FILE_TAKES)),
        }
    }

    /// From the variable, or from the file that `LOG_LEVEL_FILE` names: a reload finds a file changed, and
    /// never the environment.
    pub(super) fn log_level(&self, name: &str, file_name: &str) -> Result<Level, ConfigError> {
        if self.get(name).is_some() {
            return self.parsed(name, "", LEVEL_TAKES, Level::parse);
        }
        let Some(path) = self.file(file_name)? else {
            return Ok(Level::Info);
        };
        let refused = |why: &str| ConfigError::new(file_name, path.as_os_str(), why);
        let bytes = read_file(&path).map_err(|error| {
            refused(&format!("{error}; it takes the path of a file that holds the level"))
        })?;
        // Without its content: the path may be that of a secret.
        let text = String::from_utf8_lossy(&bytes);
        Level::parse(text.trim()).ok_or_else(|| refused(&format!("in the file: {LEVEL_TAKES}")))
    }

    /// A secret from the variable itself, from the file that `NAME_FILE` names, or from a systemd
    /// credential with the variable's name in lowercase (systemd.exec(5), LoadCredential=). A file that is
    /// empty is a mistake, and never no secret: what it guards would be open.
    pub(super) fn secret(&self, name: &str) -> Result<Option<Secret>, ConfigError> {
        if let Some(value) = self.get(name) {
            return Ok(Some(Secret { setting: name.to_owned(), file: None, bytes: value.into_vec() }));
        }
        let file_name = format!("{name}_FILE");
        if let Some(path) = self.file(&file_name)? {
            return Secret::read(&file_name, path).map(Some);
        }
        let Some(folder) = self.get("CREDENTIALS_DIRECTORY") else {
            return Ok(None);
        };
        let path = Path::new(&folder).join(name.to_ascii_lowercase());
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Secret::read("CREDENTIALS_DIRECTORY", path).map(Some),
        }
    }
}

/// The file of a setting, which is not read beyond [`MAX_FILE_BYTES`].
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it holds more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// A secret that is set, and where it comes from.
#[derive(Default)]
pub(super) struct Secret {
    setting: String,
    file: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl Secret {
    /// The bytes of the file without one newline at the end.
    fn read(setting: &str, path: PathBuf) -> Result<Self, ConfigError> {
        let refused = |why: &str| {
            let takes = format!("{why}; it takes the path of a file that holds the secret");
            ConfigError::new(setting, path.as_os_str(), &takes)
        };
        let mut bytes = read_file(&path).map_err(|error| refused(&error.to_string()))?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(refused("the file is empty"));
        }
        Ok(Self { setting: setting.to_owned(), file: Some(path), bytes })
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What a client has to send in a header.
    pub(super) fn token(self) -> Result<Vec<u8>, ConfigError> {
        let is_sent_whole = self.bytes.trim_ascii().len() == self.bytes.len()
            && self.bytes.len() <= MAX_TOKEN_BYTES
            && self.bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if is_sent_whole { Ok(self.bytes) } else { Err(self.refused(TOKEN_TAKES)) }
    }

    /// What Meta was told and sends back in a query.
    pub(super) fn verify_token(self) -> Result<String, ConfigError> {
        let text = String::from_utf8(self.bytes.clone()).ok().filter(|text| {
            // What is no UTF-8 in a query becomes U+FFFD, which is nobody's token.
            text.len() <= MAX_TOKEN_BYTES && !text.contains(|c: char| c.is_control() || c == '\u{fffd}')
        });
        text.ok_or_else(|| self.refused(VERIFY_TOKEN_TAKES))
    }

    /// Names the setting, and the file if it comes from one, and never what it holds.
    fn refused(self, takes: &str) -> ConfigError {
        let takes = match self.file {
            Some(_) => format!("in the file: {takes}"),
            None => takes.to_owned(),
        };
        let value = self.file.map(|path| path.to_string_lossy().into_owned());
        ConfigError { variable: self.setting, value, takes }
    }

    /// The setting, where the secret begins or ends in white space, which is kept and seldom meant.
    pub(super) fn padded(&self) -> Option<&str> {
        let text = String::from_utf8_lossy(&self.bytes);
        let is_padding = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
        (text.starts_with(is_padding) || text.ends_with(is_padding)).then_some(&*self.setting)
    }
}

/// True for the path of a file that somebody can have written down on purpose.
pub(super) fn can_be_meant(path: &OsStr) -> bool {
    let text = path.to_string_lossy();
    !text.is_empty() && !text.contains(char::is_control) && !text.ends_with(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_path_that_nobody_means_is_told_from_one_that_is_only_odd() {
        for meant in ["app.db", "/a b/c.db", " app.db", "é/ü", "a\u{301}", "app.db~"] {
            assert!(can_be_meant(OsStr::new(meant)), "{meant:?}");
        }
        assert!(can_be_meant(OsStr::from_bytes(b"/a/\xff.db")));
        for not in
            ["", "app.db\r", "app.db ", "app.db\t", "app.db\n", "a\rb", "a\u{85}", "a\u{a0}", "\u{7f}a"]
        {
            assert!(!can_be_meant(OsStr::new(not)), "{not:?}");
        }
    }

    #[test]
    fn a_token_is_what_a_header_can_carry() {
        let token = |bytes: &[u8]| Secret { bytes: bytes.to_vec(), ..Secret::default() }.token();
        for good in ["t0ken", "two words", "~!@#$%^&*()_+{}|:\"<>?", &"x".repeat(4096)] {
            assert_eq!(token(good.as_bytes()).unwrap(), good.as_bytes());
        }
        for bad in [" t", "t ", "t\r", "t\t", "a\tb", "a\0b", "a\nb", "\u{7f}", "clé", " ", &"x".repeat(4097)]
        {
            let line = token(bad.as_bytes()).unwrap_err().to_string();
            assert!(line.ends_with(TOKEN_TAKES), "{bad:?} is in no line: {line}");
        }
        assert!(token(b"\xff").is_err());
    }

    #[test]
    fn a_verify_token_is_what_a_query_can_carry() {
        let token = |bytes: &[u8]| Secret { bytes: bytes.to_vec(), ..Secret::default() }.verify_token();
        for good in ["t0ken", " two words ", "clé+&=%/?#", "🔑", &"x".repeat(4096)] {
            assert_eq!(token(good.as_bytes()).unwrap(), good);
        }
        for bad in ["t\r", "a\tb", "a\0b", "a\nb", "\u{7f}", "a\u{85}b", "a\u{fffd}", &"x".repeat(4097)] {
            let line = token(bad.as_bytes()).unwrap_err().to_string();
            assert!(line.ends_with(VERIFY_TOKEN_TAKES), "{bad:?} is in no line: {line}");
        }
        assert!(token(b"\xff").is_err());
    }

    #[test]
    fn white_space_around_a_secret_is_seen() {
        let padded = |text: &str| {
            let secret = Secret { setting: "NAME".to_owned(), bytes: text.as_bytes().to_vec(), file: None };
            secret.padded().is_some()
        };
        assert!(!padded("secret") && !padded("two words") && !padded("é"));
        for text in [" s", "s ", "s\r", "s\n", "\ts", "s\u{a0}", "\u{feff}s", " "] {
            assert!(padded(text), "{text:?}");
        }
    }
}
