//! A URL names a server, and where on it to ask: `http://host[:port][/path]` or `unix:/path[:/http/path]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::wait::Wait;
use super::{HttpClientError, resolver};
use crate::authority;

/// Of http without one (RFC 9110, section 4.2.1).
const DEFAULT_PORT: u16 = 80;
/// `sun_path` holds a NUL behind it (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpEndpoint {
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// Sockets of this machine, likeliest first.
    Local(Vec<SocketAddrAny>),
}

impl HttpEndpoint {
    /// Where to connect to, likeliest first.
    pub(super) fn addresses(&self, wait: &Wait<'_>) -> Result<Vec<SocketAddrAny>, HttpClientError> {
        match self {
            Self::Tcp { host, port } => {
                let found = resolver::look_up(host, wait)?;
                Ok(found.into_iter().map(|address| SocketAddr::new(address, *port).into()).collect())
            }
            Self::Unix(path) => match SocketAddrUnix::new(path) {
                Ok(address) => Ok(vec![address.into()]),
                Err(error) => Err(HttpClientError::Connect(error.into())),
            },
            Self::Local(addresses) => Ok(addresses.clone()),
        }
    }

    /// What `Host` says (RFC 9110, section 7.2). A Unix socket has no name, and curl's for it is this one.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port: DEFAULT_PORT } => bracketed(host),
            Self::Tcp { host, port } => format!("{}:{port}", bracketed(host)),
            Self::Unix(_) | Self::Local(_) => "localhost".to_owned(),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// For people.
impl fmt::Display for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => write!(f, "http://{}", self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Local(_) => f.write_str("this machine"),
        }
    }
}

/// A server, and the target on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub endpoint: HttpEndpoint,
    /// Path and perhaps a query as they are sent. `/` where the URL has none.
    pub path: String,
}

const TAKES: &str = "it takes http://HOST[:PORT][/PATH] or unix:/SOCKET[:/PATH]";

impl Url {
    /// Says what a URL takes where `text` is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scheme = |name: &str| {
            text.split_at_checked(name.len()).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(name))
        };
        let parsed = if let Some((_, rest)) = scheme("http://") {
            Self::parse_http(rest)
        } else if let Some((_, rest)) = scheme("unix:") {
            Self::parse_unix(rest)
        } else if scheme("https://").is_some() {
            Err("TLS is not spoken here: use a proxy, or a command such as curl")
        } else {
            Err("it is of another kind")
        };
        parsed.map_err(|why| format!("{why}; {TAKES}"))
    }

    fn parse_http(rest: &str) -> Result<Self, &'static str> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it holds a user and a password, which are not sent");
        }
        if !authority::is_valid(authority) {
            return Err("it names no host");
        }
        // The last colon, where it stands behind a bracket or there is none.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        // Of a valid authority it is a number, or empty.
        let port = port.parse().unwrap_or(DEFAULT_PORT);
        if port == 0 {
            return Err("nobody can listen at port 0");
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let endpoint = HttpEndpoint::Tcp { host: host.to_owned(), port };
        Ok(Self { endpoint, path: target(path)? })
    }

    fn parse_unix(rest: &str) -> Result<Self, &'static str> {
        let (socket, path) = rest
            .split_once(":/")
            .map_or((rest, String::new()), |(socket, path)| (socket, format!("/{path}")));
        let can_be_meant =
            socket.starts_with('/') && !socket.ends_with(['/', ' ']) && !socket.chars().any(char::is_control);
        match can_be_meant {
            false => Err("the path of the socket has to be absolute, that of a file"),
            true if socket.len() > MAX_SOCKET_PATH_BYTES => Err("the path of the socket is over 107 bytes"),
            true => Ok(Self { endpoint: HttpEndpoint::Unix(PathBuf::from(socket)), path: target(&path)? }),
        }
    }
}

fn target(path: &str) -> Result<String, &'static str> {
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("its path holds bytes that have to be percent-encoded, or a fragment");
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> HttpEndpoint {
        HttpEndpoint::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn every_form_names_an_endpoint_and_a_target() {
        for (text, endpoint, path, host) in [
            ("http://127.0.0.1:8000", tcp("127.0.0.1", 8000), "/", "127.0.0.1:8000"),
            ("HTTP://app/hook?x=1&y", tcp("app", 80), "/hook?x=1&y", "app"),
            ("http://app:/hook", tcp("app", 80), "/hook", "app"),
            ("http://app?x", tcp("app", 80), "/?x", "app"),
            ("http://[::1]:81/", tcp("::1", 81), "/", "[::1]:81"),
            ("http://[2001:db8::1]", tcp("2001:db8::1", 80), "/", "[2001:db8::1]"),
            ("unix:/run/x.sock", HttpEndpoint::Unix("/run/x.sock".into()), "/", "localhost"),
            ("unix:/run/x.sock:/hook?y", HttpEndpoint::Unix("/run/x.sock".into()), "/hook?y", "localhost"),
            ("unix:/run/a:b.sock", HttpEndpoint::Unix("/run/a:b.sock".into()), "/", "localhost"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((&url.endpoint, url.path.as_str()), (&endpoint, path), "{text}");
            assert_eq!(url.endpoint.authority(), host, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_what_one_takes() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, said) in [
            ("https://app/hook", "TLS is not spoken here"),
            ("app:8000", "another kind"),
            ("", "another kind"),
            ("http://", "no host"),
            ("http:///path", "no host"),
            ("http://app:port", "no host"),
            ("http://app:65536", "no host"),
            ("http://::1", "no host"),
            ("http://app:0", "port 0"),
            ("http://user:word@app", "a password"),
            ("http://app/a b", "percent-encoded"),
            ("http://app/é", "percent-encoded"),
            ("http://app/#x", "fragment"),
            ("unix:run/x.sock", "absolute"),
            ("unix:", "absolute"),
            ("unix:/run/", "absolute"),
            ("unix:/run/x.sock:/a b", "percent-encoded"),
            (&long, "107 bytes"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(said) && error.contains(TAKES), "{text}: {error}");
        }
    }
}
