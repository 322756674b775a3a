//! The environment is read into a [`Config`], or refused in one clear line.
//!
//! Each command reads what it uses: a setting of the service is no reason for `export` to fail.

mod environment;
mod listen_addr;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::TrustedProxies;
use crate::hosts::AllowedHosts;
use crate::limits::{
    DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CONNECTIONS, DEFAULT_REQUEST_TIMEOUT,
    DEFAULT_WORKERS, LARGEST_MAX_BODY_BYTES, LARGEST_MAX_CONNECTIONS, LARGEST_WORKERS,
    LONGEST_RETENTION_DAYS,
};
use crate::log::Level;
use crate::secrets::{Secrets, WhatsappSecrets};
use crate::signature::Keys;
pub use environment::ConfigError;
use environment::{Environment, Secret, can_be_meant};
pub use listen_addr::{ListenAddr, reachable_at};

/// What becomes of the statuses that WhatsApp sends for each message that went out: sent, delivered, read, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatsappStatuses {
    Keep,
    Drop,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub secrets: Secrets,
    /// The settings whose secret begins or ends in white space, which is worth a word.
    pub padded_secrets: Vec<String>,
    pub database: PathBuf,
    /// Messages older than so many days are deleted; `None` keeps them.
    pub retention_days: Option<u32>,
    pub listen: ListenAddr,
    /// Somebody has said so, and it is not the default.
    pub listen_is_set: bool,
    /// Who may connect to a socket that is a file (chmod(2)).
    pub unix_socket_mode: u32,
    pub allowed_hosts: AllowedHosts,
    pub trusted_proxies: TrustedProxies,
    pub log_level: Level,
    pub workers: usize,
    pub max_body_bytes: usize,
    pub whatsapp_statuses: WhatsappStatuses,
    pub max_connections: usize,
    pub request_timeout: Duration,
    pub idle_timeout: Duration,
}

impl Config {
    /// The settings of this process.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&of_this_process())
    }

    fn read(env: &Environment<'_>) -> Result<Self, ConfigError> {
        let (secrets, padded_secrets) = secrets(env)?;
        let retention_takes = format!(
            "it takes a whole number of days from 1 to {LONGEST_RETENTION_DAYS}; unset, messages are kept for ever"
        );
        Ok(Self {
            secrets,
            padded_secrets,
            database: database(env)?,
            retention_days: env.parsed("RETENTION_DAYS", "", &retention_takes, retention_days)?,
            listen: listen(env)?,
            listen_is_set: env.get("LISTEN_ADDR").is_some(),
            unix_socket_mode: env.parsed("UNIX_SOCKET_MODE", "0666", MODE_TAKES, socket_mode)?,
            allowed_hosts: env.parsed("ALLOWED_HOSTS", "", HOSTS_TAKES, AllowedHosts::parse)?,
            trusted_proxies: env.parsed("TRUSTED_PROXIES", "", PROXIES_TAKES, TrustedProxies::parse)?,
            log_level: env.log_level("LOG_LEVEL", "LOG_LEVEL_FILE")?,
            workers: env.number("WORKERS", DEFAULT_WORKERS, LARGEST_WORKERS)?,
            max_body_bytes: env.number("MAX_BODY_BYTES", DEFAULT_MAX_BODY_BYTES, LARGEST_MAX_BODY_BYTES)?,
            whatsapp_statuses: env.parsed("WHATSAPP_STATUSES", "keep", STATUSES_TAKES, statuses)?,
            max_connections: env.number(
                "MAX_CONNECTIONS",
                DEFAULT_MAX_CONNECTIONS,
                LARGEST_MAX_CONNECTIONS,
            )?,
            request_timeout: env.seconds("REQUEST_TIMEOUT_SECONDS", DEFAULT_REQUEST_TIMEOUT)?,
            idle_timeout: env.seconds("IDLE_TIMEOUT_SECONDS", DEFAULT_IDLE_TIMEOUT)?,
        })
    }

    /// The path of the database, for commands that use nothing else.
    pub fn database_from_env() -> Result<PathBuf, ConfigError> {
        database(&of_this_process())
    }

    /// Where the service listens, for who wants to reach it.
    pub fn listen_from_env() -> Result<ListenAddr, ConfigError> {
        listen(&of_this_process())
    }

    /// The secret that signs, for the `sign` command. `None` if none is set.
    pub fn signing_secret() -> Result<Option<Vec<u8>>, ConfigError> {
        Ok(of_this_process().secret("WEBHOOK_SECRET")?.map(Secret::bytes))
    }

    /// The token that guards the feed, for who reads it. `None` if none is set.
    pub fn api_token() -> Result<Option<Vec<u8>>, ConfigError> {
        of_this_process().secret("API_TOKEN")?.map(Secret::token).transpose()
    }

    /// The key that signs what is handed on to a program. `None` if none is set.
    pub fn forward_secret() -> Result<Option<Vec<u8>>, ConfigError> {
        Ok(of_this_process().secret("FORWARD_SECRET")?.map(Secret::bytes))
    }
}

fn of_this_process() -> Environment<'static> {
    Environment { lookup: &|name| std::env::var_os(name) }
}

/// The secrets, and the settings of those that begin or end in white space.
fn secrets(env: &Environment<'_>) -> Result<(Secrets, Vec<String>), ConfigError> {
    let all = [
        env.secret("WEBHOOK_SECRET")?,
        env.secret("WEBHOOK_SECRET_PREVIOUS")?,
        env.secret("WHATSAPP_APP_SECRET")?,
        env.secret("WHATSAPP_APP_SECRET_PREVIOUS")?,
        env.secret("WHATSAPP_VERIFY_TOKEN")?,
    ];
    let padded = all.iter().flatten().filter_map(Secret::padded).map(str::to_owned).collect();
    let has_whatsapp = all[2..].iter().any(Option::is_some) || env.get("WHATSAPP_STATUSES").is_some();
    let [current, previous, app, previous_app, verify_token] = all;
    let keys = |current: Option<Secret>, previous: Option<Secret>| {
        Keys::new(&current.unwrap_or_default().bytes(), &previous.unwrap_or_default().bytes())
    };
    let verify_token = verify_token.map(Secret::verify_token).transpose()?;
    let whatsapp = WhatsappSecrets { keys: keys(app, previous_app), verify_token };
    let secrets = Secrets {
        keys: keys(current, previous),
        api_token: env.secret("API_TOKEN")?.map(Secret::token).transpose()?,
        whatsapp: has_whatsapp.then_some(whatsapp),
    };
    Ok((secrets, padded))
}

fn database(env: &Environment<'_>) -> Result<PathBuf, ConfigError> {
    env.parsed("DATABASE_URL", "sqlite:///data/app.db", DATABASE_TAKES, database_path)
}

fn listen(env: &Environment<'_>) -> Result<ListenAddr, ConfigError> {
    env.parsed("LISTEN_ADDR", "127.0.0.1:8000", listen_addr::TAKES, ListenAddr::parse)
}

const DATABASE_TAKES: &str = "it takes sqlite:///relative/path or sqlite:////absolute/path of a file (also sqlite+aiosqlite: and sqlite+pysqlite:), without control characters, ? or #, and without a blank at its end";
const STATUSES_TAKES: &str = "it takes keep or drop";
const MODE_TAKES: &str = "it takes an octal mode such as 0660, which lets the owner write: the service looks after itself by its own socket";
const HOSTS_TAKES: &str = "it takes names and addresses as they stand in Host, without a port, such as localhost,127.0.0.1,[::1], separated by commas";
const PROXIES_TAKES: &str = "it takes addresses and networks such as 127.0.0.1,10.0.0.0/8,fd00::/8 and the word unix, separated by commas";

fn retention_days(text: &str) -> Option<Option<u32>> {
    match text {
        "" => Some(None),
        text => text.parse().ok().filter(|days| (1..=LONGEST_RETENTION_DAYS).contains(days)).map(Some),
    }
}

fn statuses(text: &str) -> Option<WhatsappStatuses> {
    match text {
        "keep" => Some(WhatsappStatuses::Keep),
        "drop" => Some(WhatsappStatuses::Drop),
        _ => None,
    }
}

fn database_path(url: &str) -> Option<PathBuf> {
    // The drivers that SQLAlchemy has for the same files.
    let schemes = ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"];
    let path = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)?.strip_prefix(":///"))?;
    let is_file = can_be_meant(OsStr::new(path))
        && !path.ends_with('/')
        && !path.contains(['?', '#'])
        && !path.starts_with(':');
    is_file.then(|| PathBuf::from(path))
}

fn socket_mode(text: &str) -> Option<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777)?;
    // To connect is to write (unix(7)).
    (mode & 0o200 != 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let lookup =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Config::read(&Environment { lookup: &lookup })
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
    fn the_routes_of_whatsapp_are_there_when_a_setting_of_theirs_is_set() {
        let whatsapp = |variables: &[(&str, &str)]| read(variables).unwrap().secrets.whatsapp;
        assert!(whatsapp(&[("WHATSAPP_APP_SECRET", ""), ("WHATSAPP_STATUSES", "")]).is_none());
        for name in ["WHATSAPP_APP_SECRET_PREVIOUS", "WHATSAPP_VERIFY_TOKEN", "WHATSAPP_APP_SECRET"] {
            let whatsapp = whatsapp(&[(name, "x")]).unwrap();
            assert_eq!(whatsapp.keys.is_some(), name == "WHATSAPP_APP_SECRET");
            assert_eq!(whatsapp.verify_token.is_some(), name == "WHATSAPP_VERIFY_TOKEN");
        }
        assert!(whatsapp(&[("WHATSAPP_STATUSES", "keep")]).is_some());
        assert_eq!(read(&[]).unwrap().whatsapp_statuses, WhatsappStatuses::Keep);
        assert_eq!(read(&[("WHATSAPP_STATUSES", "drop")]).unwrap().whatsapp_statuses, WhatsappStatuses::Drop);
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
        for url in ["sqlite:////var/x.db", "sqlite+aiosqlite:////var/x.db", "sqlite+pysqlite:////var/x.db"] {
            assert_eq!(read(&[("DATABASE_URL", url)]).unwrap().database, Path::new("/var/x.db"));
        }
    }

    #[test]
    fn a_file_that_is_named_and_is_none_is_refused_and_not_passed_over() {
        for name in
            ["WEBHOOK_SECRET_FILE", "WEBHOOK_SECRET_PREVIOUS_FILE", "API_TOKEN_FILE", "LOG_LEVEL_FILE"]
        {
            for path in ["", " ", "/dev/null\r", "/dev/null "] {
                let line = read(&[(name, path)]).unwrap_err().to_string();
                assert!(line.starts_with(name) && line.contains("without a blank"), "{line}");
            }
            let variable = name.trim_end_matches("_FILE");
            assert!(read(&[(variable, "INFO"), (name, "")]).is_ok(), "the variable wins");
        }
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
            ("UNIX_SOCKET_MODE", "rw"),
            ("UNIX_SOCKET_MODE", "0o666"),
            ("UNIX_SOCKET_MODE", "0668"),
            ("UNIX_SOCKET_MODE", "1777"),
            ("UNIX_SOCKET_MODE", "0444"),
            ("UNIX_SOCKET_MODE", "-666"),
            ("TRUSTED_PROXIES", "127.0.0.1,proxy.internal"),
            ("WORKERS", "0"),
            ("WORKERS", "many"),
            ("MAX_BODY_BYTES", "-1"),
            ("IDLE_TIMEOUT_SECONDS", "1.5"),
            ("WHATSAPP_STATUSES", "Drop"),
            ("WHATSAPP_APP_SECRET_FILE", "/does/not/exist"),
            ("WHATSAPP_APP_SECRET_PREVIOUS_FILE", "/dev/null"),
            ("WHATSAPP_VERIFY_TOKEN_FILE", "/dev/null"),
            ("RETENTION_DAYS", "0"),
            ("RETENTION_DAYS", "30d"),
            ("RETENTION_DAYS", "36501"),
            ("WEBHOOK_SECRET_FILE", "/does/not/exist"),
            ("WEBHOOK_SECRET_FILE", "/dev/null"),
            ("WEBHOOK_SECRET_PREVIOUS_FILE", "/dev/null"),
            ("API_TOKEN_FILE", "/dev/null"),
            ("LOG_LEVEL_FILE", "/dev/null"),
            ("DATABASE_URL", "sqlite:///app.db "),
            ("DATABASE_URL", "sqlite+pysqlcipher:///app.db"),
            ("LISTEN_ADDR", "unix:/run/x.sock "),
            ("LISTEN_ADDR", "unix:/run/"),
            ("ALLOWED_HOSTS", "localhost:8000"),
            ("ALLOWED_HOSTS", "*"),
        ] {
            let line = read(&[(name, value)]).unwrap_err().to_string();
            assert!(line.contains(name) && line.contains(value) && !line.contains('\n'), "{line}");
        }
    }
}
