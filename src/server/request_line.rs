//! A request line is a method, then a target, then a version (RFC 9112, section 3).

use tiny_http::HTTPVersion;

use crate::authority;
use crate::http_head::is_token;
use crate::routes::RequestError;
use crate::url::decode_path;

/// A request line that keeps the rules.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub method: &'a str,
    /// Of a target that is a URL.
    pub target_authority: Option<&'a str>,
    /// Decoded.
    pub path: String,
    /// As sent.
    pub query: &'a str,
    pub version: HTTPVersion,
}

impl<'a> RequestLine<'a> {
    pub(super) fn parse(line: &'a str) -> Result<Self, RequestError> {
        let malformed = RequestError::Malformed("the request line is not method, target and version");
        let mut parts = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        if !is_token(method) || target.is_empty() {
            return Err(malformed);
        }
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(RequestError::Malformed("the target holds bytes that have to be percent-encoded"));
        }
        let version = match version.as_bytes() {
            b"HTTP/1.1" => HTTPVersion(1, 1),
            b"HTTP/1.0" => HTTPVersion(1, 0),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(RequestError::UnsupportedVersion);
            }
            _ => return Err(malformed),
        };
        let (target_authority, path, query) = split_target(target)?;
        Ok(Self { method, target_authority, path: decode_path(path), query, version })
    }
}

/// Authority, path and query of a target in one of the forms that a server is asked in (RFC 9112, section 3.2):
/// a path, a URL, or `*`.
fn split_target(target: &str) -> Result<(Option<&str>, &str, &str), RequestError> {
    let is_absolute =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    let (authority, origin) = match ["http://", "https://"].into_iter().find(|scheme| is_absolute(scheme)) {
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            let (authority, origin) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !authority::is_valid(authority) {
                return Err(RequestError::Malformed("the target names no host"));
            }
            (Some(authority), origin)
        }
        None if target.starts_with('/') || target == "*" => (None, target),
        None => return Err(RequestError::Malformed("the target is no path and no URL")),
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_every_form_have_a_path() {
        for (target, path) in
            [("http://h:1/x?y", "/x"), ("http://h", "/"), ("HTTP://h?y", "/"), ("*", "*"), ("/%C3%A9", "/é")]
        {
            assert_eq!(RequestLine::parse(&format!("GET {target} HTTP/1.1")).unwrap().path, path);
        }
    }

    #[test]
    fn a_method_and_a_version_are_what_they_are_called() {
        let line = RequestLine::parse("BREW /a?b HTTP/1.0").unwrap();
        assert_eq!((line.method, line.query, line.version), ("BREW", "b", HTTPVersion(1, 0)));
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
            let error = RequestLine::parse(&format!("GET / {version}")).unwrap_err();
            assert_eq!(error, RequestError::UnsupportedVersion);
        }
    }
}
