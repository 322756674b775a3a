//! A header field is a name before a colon, then a value (RFC 9110, section 5).

use tiny_http::Header;

use crate::routes::RequestError;

/// The name of a field. There is none before a space and a colon, and none on a folded line.
pub(super) fn field_name(line: &str) -> Option<&str> {
    line.split_once(':').map(|(name, _)| name).filter(|name| is_token(name))
}

/// One header field, as tiny_http reads it; where HTTP allows more than tiny_http can hold
/// (RFC 9110, sections 5.5 and 5.6.2: bytes beyond ASCII, tabs, odd names), as it stands.
pub(super) fn parse_field(line: &str) -> Result<(String, String), RequestError> {
    let Some(name) = field_name(line) else {
        return Err(RequestError::Malformed("a header line has no valid name"));
    };
    let value = &line[name.len() + 1..];
    Ok(match line.parse::<Header>() {
        Ok(header) => (header.field.as_str().to_string(), header.value.as_str().to_owned()),
        Err(_) => (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()),
    })
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_whether_tiny_http_can_hold_it_or_not() {
        for (line, name, value) in [
            ("Host: x", "Host", "x"),
            ("A:b: c ", "A", "b: c"),
            ("A:", "A", ""),
            ("X.Odd!: 1", "X.Odd!", "1"),
            ("User-Agent: \t Café\tBar \t", "User-Agent", "Café\tBar"),
        ] {
            assert_eq!(parse_field(line), Ok((name.to_owned(), value.to_owned())), "{line:?}");
        }
        for line in ["", "no colon", ": b", "A : b", " A: b", "\tA: b", "é: b"] {
            assert!(parse_field(line).is_err(), "{line:?}");
        }
    }
}
