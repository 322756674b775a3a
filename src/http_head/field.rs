//! A header field is a name before a colon, then a value (RFC 9110, section 5).

use super::HeadError;

/// Name and value of a field. A name before a space, or on a folded line, is none.
pub fn parse_field(line: &str) -> Result<(&str, &str), HeadError> {
    match line.split_once(':') {
        Some((name, value)) if is_token(name) => Ok((name, value.trim_matches([' ', '\t']))),
        _ => Err(HeadError::Malformed("a header line has no valid name")),
    }
}

pub fn is_token(text: &str) -> bool {
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
    fn a_field_has_a_token_for_its_name() {
        for (line, name, value) in [
            ("Host: x", "Host", "x"),
            ("A:b: c ", "A", "b: c"),
            ("A:", "A", ""),
            ("X.Odd!: 1", "X.Odd!", "1"),
            ("User-Agent: \t Café\tBar \t", "User-Agent", "Café\tBar"),
        ] {
            assert_eq!(parse_field(line), Ok((name, value)), "{line:?}");
        }
        for line in ["", "no colon", ": b", "A : b", " A: b", "\tA: b", "é: b"] {
            assert!(parse_field(line).is_err(), "{line:?}");
        }
    }
}
