//! The environment, read at the start and at a reload into a [`Config`], or refused in one clear line.
//!
//! A variable that is set but empty counts as unset, as compose files leave it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::TrustedProxies;
use crate::limits::{
    DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CONNECTIONS, DEFAULT_REQUEST_TIMEOUT,
    DEFAULT_WORKERS, LARGEST_MAX_BODY_BYTES, LARGEST_MAX_CONNECTIONS, LARGEST_WORKERS,
    LONGEST_RETENTION_DAYS, LONGEST_TIMEOUT,
};
use crate::log::Level;
use crate::secrets::Secrets;
use crate::signature::Keys;

/// Where the service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub secrets: Secrets,
    pub database: PathBuf,
    /// Messages older than so many days are deleted; `None` keeps them.
    pub retention_days: Option<u32>,
    pub listen: ListenAddr,
    pub trusted_proxies: TrustedProxies,
    pub log_level: Level,
    pub workers: usize,
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub request_timeout: Duration,
    pub idle_timeout: Duration,
}

/// A setting that cannot be used: which, what it holds, and what it takes.
#[derive(Debug)]
pub struct ConfigError {
    variable: String,
    value: String,
    takes: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?} cannot be used: {}", self.variable, self.value, self.takes)
    }
}

/// Looks a variable up; tests pass their own.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Config {
    /// The settings of this process.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&|name| std::env::var_os(name))
    }

    fn read(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let env = Environment { lookup };
        let current = env.secret("WEBHOOK_SECRET")?.unwrap_or_default();
        let previous = env.secret("WEBHOOK_SECRET_PREVIOUS")?.unwrap_or_default();
        Ok(Self {
            secrets: Secrets { keys: Keys::new(&current, &previous), api_token: env.secret("API_TOKEN")? },
            database: env.parsed("DATABASE_URL", "sqlite:///data/app.db", DATABASE_TAKES, database_path)?,
            retention_days: env.retention_days()?,
            listen: env.parsed("LISTEN_ADDR", "127.0.0.1:8000", LISTEN_TAKES, listen_addr)?,
            trusted_proxies: env.parsed("TRUSTED_PROXIES", "", PROXIES_TAKES, TrustedProxies::parse)?,
            log_level: env.log_level()?,
            workers: env.number("WORKERS", DEFAULT_WORKERS, LARGEST_WORKERS)?,
            max_body_bytes: env.number("MAX_BODY_BYTES", DEFAULT_MAX_BODY_BYTES, LARGEST_MAX_BODY_BYTES)?,
            max_connections: env.number(
                "MAX_CONNECTIONS",
                DEFAULT_MAX_CONNECTIONS,
                LARGEST_MAX_CONNECTIONS,
            )?,
            request_timeout: env.seconds("REQUEST_TIMEOUT_SECONDS", DEFAULT_REQUEST_TIMEOUT)?,
            idle_timeout: env.seconds("IDLE_TIMEOUT_SECONDS", DEFAULT_IDLE_TIMEOUT)?,
        })
    }

    /// The secret that signs, for the `sign` command. `None` if none is set.
    pub fn signing_secret() -> Result<Option<Vec<u8>>, ConfigError> {
        Environment { lookup: &|name| std::env::var_os(name) }.secret("WEBHOOK_SECRET")
    }
}

const LEVEL_TAKES: &str = "it takes DEBUG, INFO, WARNING or ERROR";
const DATABASE_TAKES: &str = "it takes sqlite:///relative/path or sqlite:////absolute/path of a file";
const LISTEN_TAKES: &str = "it takes IP:PORT, [IPv6]:PORT, localhost:PORT or unix:/path (names are not looked up: a static binary has no resolver)";
const PROXIES_TAKES: &str = "it takes addresses and networks such as 127.0.0.1,10.0.0.0/8,fd00::/8 and the word unix, separated by commas";

struct Environment<'a> {
    lookup: Lookup<'a>,
}

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A value that `parse` must accept.
    fn parsed<T>(
        &self,
        name: &str,
        default: &str,
        takes: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.get(name).unwrap_or_else(|| default.into());
        value.to_str().and_then(parse).ok_or_else(|| error(name, &value, takes))
    }

    fn number(&self, name: &str, default: usize, largest: usize) -> Result<usize, ConfigError> {
        let takes = format!("it takes a whole number from 1 to {largest}");
        let parse = |text: &str| text.parse().ok().filter(|number| (1..=largest).contains(number));
        self.parsed(name, &default.to_string(), &takes, parse)
    }

    fn retention_days(&self) -> Result<Option<u32>, ConfigError> {
        let takes = format!(
            "it takes a whole number of days from 1 to {LONGEST_RETENTION_DAYS}; unset, messages are kept for ever"
        );
        let parse = |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().filter(|days| (1..=LONGEST_RETENTION_DAYS).contains(days)).map(Some),
        };
        self.parsed("RETENTION_DAYS", "", &takes, parse)
    }

    fn seconds(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        let seconds = self.number(name, default.as_secs() as usize, LONGEST_TIMEOUT.as_secs() as usize)?;
        Ok(Duration::from_secs(seconds as u64))
    }

    /// From the variable, or from the file that `LOG_LEVEL_FILE` names: a reload finds a file changed, and
    /// never the environment.
    fn log_level(&self) -> Result<Level, ConfigError> {
        let name = "LOG_LEVEL_FILE";
        let Some(path) = self.get(name).filter(|_| self.get("LOG_LEVEL").is_none()) else {
            return self.parsed("LOG_LEVEL", "INFO", LEVEL_TAKES, Level::parse);
        };
        let text = fs::read_to_string(&path).map_err(|io_error| {
            error(name, &path, &format!("{io_error}; it takes the path of a file that holds the level"))
        })?;
        // Without its content: the path may be that of a secret.
        Level::parse(text.trim()).ok_or_else(|| error(name, &path, &format!("in the file: {LEVEL_TAKES}")))
    }

    /// A secret from the variable itself, from the file that `NAME_FILE` names, or from a systemd
    /// credential with the variable's name in lowercase (systemd.exec(5), LoadCredential=).
    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, ConfigError> {
        if let Some(value) = self.get(name) {
            return Ok(Some(value.into_vec()));
        }
        let file_name = format!("{name}_FILE");
        if let Some(path) = self.get(&file_name) {
            let secret = read_secret(Path::new(&path)).map_err(|io_error| {
                error(
                    &file_name,
                    &path,
                    &format!("{io_error}; it takes the path of a file that holds the secret"),
                )
            })?;
            return Ok(secret);
        }
        let Some(folder) = self.get("CREDENTIALS_DIRECTORY") else {
            return Ok(None);
        };
        let path = Path::new(&folder).join(name.to_ascii_lowercase());
        match read_secret(&path) {
            Ok(secret) => Ok(secret),
            Err(io_error) if io_error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(io_error) => Err(error("CREDENTIALS_DIRECTORY", path.as_os_str(), &io_error.to_string())),
        }
    }
}

fn error(variable: &str, value: &OsStr, takes: &str) -> ConfigError {
    ConfigError {
        variable: variable.to_owned(),
        value: value.to_string_lossy().into_owned(),
        takes: takes.to_owned(),
    }
}

/// The bytes of the file without one newline at the end. An empty secret is none.
fn read_secret(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut secret = fs::read(path)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
    }
    Ok(Some(secret).filter(|secret| !secret.is_empty()))
}

fn database_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:///")?;
    let is_file = !path.is_empty()
        && !path.ends_with('/')
        && !path.contains(['?', '#', '\0'])
        && !path.starts_with(':');
    is_file.then(|| PathBuf::from(path))
}

fn listen_addr(text: &str) -> Option<ListenAddr> {
    if let Some(path) = text.strip_prefix("unix:") {
        // sun_path holds 108 bytes with its closing NUL (unix(7)).
        let fits = path.starts_with('/') && OsStr::new(path).as_bytes().len() < 108;
        return fits.then(|| ListenAddr::Unix(PathBuf::from(path)));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        return port.parse().ok().map(|port| ListenAddr::Tcp(SocketAddr::new(loopback, port)));
    }
    text.parse().ok().map(ListenAddr::Tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let config = read(&[("LOG_LEVEL", "")]).unwrap();
        assert!(config.secrets.keys.is_none() && config.secrets.api_token.is_none());
        assert_eq!(config.database, Path::new("data/app.db"));
        assert_eq!(config.listen, ListenAddr::Tcp("127.0.0.1:8000".parse().unwrap()));
        assert_eq!((config.workers, config.max_body_bytes), (8, 65_536));
        assert_eq!(config.log_level, Level::Info);
        assert_eq!(config.retention_days, None);
        assert_eq!(read(&[("RETENTION_DAYS", "30")]).unwrap().retention_days, Some(30));
    }

    #[test]
    fn every_address_form_is_read() {
        for (text, expected) in [
            ("0.0.0.0:80", ListenAddr::Tcp("0.0.0.0:80".parse().unwrap())),
            ("[::1]:8000", ListenAddr::Tcp("[::1]:8000".parse().unwrap())),
            ("localhost:8000", ListenAddr::Tcp("127.0.0.1:8000".parse().unwrap())),
            ("unix:/run/x.sock", ListenAddr::Unix("/run/x.sock".into())),
        ] {
            assert_eq!(read(&[("LISTEN_ADDR", text)]).unwrap().listen, expected);
        }
        assert_eq!(
            read(&[("DATABASE_URL", "sqlite:////var/x.db")]).unwrap().database,
            Path::new("/var/x.db")
        );
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_takes() {
        for (name, value) in [
            ("LISTEN_ADDR", "8000"),
            ("LISTEN_ADDR", "127.0.0.1:99999"),
            ("LISTEN_ADDR", "unix:relative"),
            ("DATABASE_URL", "postgres://x"),
            ("DATABASE_URL", "sqlite://"),
            ("DATABASE_URL", "sqlite:///:memory:"),
            ("DATABASE_URL", "sqlite:///folder/"),
            ("LOG_LEVEL", "LOUD"),
            ("LOG_LEVEL_FILE", "/does/not/exist"),
            ("TRUSTED_PROXIES", "127.0.0.1,proxy.internal"),
            ("WORKERS", "0"),
            ("WORKERS", "many"),
            ("MAX_BODY_BYTES", "-1"),
            ("IDLE_TIMEOUT_SECONDS", "1.5"),
            ("RETENTION_DAYS", "0"),
            ("RETENTION_DAYS", "30d"),
            ("RETENTION_DAYS", "36501"),
            ("WEBHOOK_SECRET_FILE", "/does/not/exist"),
        ] {
            let line = read(&[(name, value)]).unwrap_err().to_string();
            assert!(line.contains(name) && line.contains(value) && !line.contains('\n'), "{line}");
        }
    }
}
