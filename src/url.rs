//! Percent-encoding is read as Python's `urllib.parse` reads it (RFC 3986, section 2.1).

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What is no visible ASCII; bytes beyond ASCII are in every set.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');

/// The parameters of a query string, decoded: `+` is a space, `%XX` a byte, and what is not UTF-8
/// becomes U+FFFD.
pub fn query_parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned()
}

/// A path, decoded: `%XX` is a byte, and a `+` is a `+`. An encoded `?` stays encoded: what follows
/// it is no query, and must not look like one in a log.
pub fn decode_path(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().replace('?', "%3F")
}

/// Appends `text` percent-encoded, so that it can stand in a query string.
pub fn percent_encode(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, RESERVED));
}

/// Appends a query string as it was sent, so that it can stand in a header: what is no visible ASCII
/// becomes `%XX`, which decodes to the same.
pub fn repeat_query(out: &mut String, query: &str) {
    out.extend(utf8_percent_encode(query, INVISIBLE));
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
        assert_eq!(query_parameters(&encoded).collect::<Vec<_>>(), [(text.to_owned(), String::new())]);
        assert_eq!(decode_path("/a+b%2Fc%3Fd"), "/a+b/c%3Fd");
        let mut repeated = String::new();
        repeat_query(&mut repeated, "q=a%20+\té&x=\"'<>");
        assert_eq!(repeated, "q=a%20+%09%C3%A9&x=\"'<>");
    }
}
