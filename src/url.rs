//! The percent-encoding of URLs, read as Python's `urllib.parse` reads it (RFC 3986, section 2.1).

/// The parameters of a query string, decoded: `+` is a space, `%XX` a byte, and what is not UTF-8
/// becomes U+FFFD, as Python's `urllib.parse` reads it.
pub fn query_parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name, b' '), decode(value, b' '))
    })
}

/// A path, decoded: `%XX` is a byte, and a `+` is a `+`. An encoded `?` stays encoded: what follows
/// it is no query, and must not look like one in a log.
pub fn decode_path(path: &str) -> String {
    decode(path, b'+').replace('?', "%3F")
}

fn decode(text: &str, plus: u8) -> String {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| Some(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?));
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                decoded.push(byte);
                at += 2;
            }
            (None, b'+') => decoded.push(plus),
            (None, byte) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// Appends `text` percent-encoded, so that it can stand in a query string: everything but
/// RFC 3986's unreserved characters becomes `%XX`.
pub fn percent_encode(out: &mut String, text: &str) {
    encode(out, text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
}

/// Appends a query string as it was sent, so that it can stand in a header: what is no visible ASCII
/// becomes `%XX`, which decodes to the same.
pub fn repeat_query(out: &mut String, query: &str) {
    encode(out, query, |byte| byte.is_ascii_graphic());
}

fn encode(out: &mut String, text: &str, is_kept: fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if is_kept(byte) {
            out.push(byte as char);
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_are_decoded_as_python_reads_them() {
        let read = |query: &str| query_parameters(query).collect::<Vec<_>>();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read("from=+91&q=a%20b+c"), [pair("from", " 91"), pair("q", "a b c")]);
        assert_eq!(read("a&b=&=c&&d=1=2"), [pair("a", ""), pair("b", ""), pair("", "c"), pair("d", "1=2")]);
        assert_eq!(read("q=%E2%82%AC%zz%4"), [pair("q", "€%zz%4")]);
        assert_eq!(read("q=%ff"), [pair("q", "\u{fffd}")]);
        assert_eq!(read("q=é%"), [pair("q", "é%")]);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let text = "a b+c&d=é/%\0😀~";
        let mut encoded = String::new();
        percent_encode(&mut encoded, text);
        assert!(encoded.is_ascii());
        assert_eq!(decode(&encoded, b' '), text);
        assert_eq!(decode_path("/a+b%2Fc%3Fd"), "/a+b/c%3Fd");
        let mut repeated = String::new();
        repeat_query(&mut repeated, "q=a%20+\té&x=\"'<>");
        assert_eq!(repeated, "q=a%20+%09%C3%A9&x=\"'<>");
    }
}
