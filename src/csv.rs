//! Rows of text as comma-separated values (RFC 4180), written and read.
//!
//! A value that is not there is nothing between two commas; an empty one is `""`. Lines end in a line
//! feed, and may be read with a carriage return before it.

/// Appends a row.
pub fn write_row(out: &mut Vec<u8>, values: &[Option<&str>]) {
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let Some(value) = value else {
            continue;
        };
        let is_special = |c: char| matches!(c, ',' | '"' | '\u{2028}' | '\u{2029}') || c.is_control();
        // Quotes keep a reader from taking what stands between them for the end of a line.
        let is_plain = !value.is_empty() && !value.contains(is_special);
        // A reader may cut blanks off what stands without quotes.
        if is_plain && value.trim() == *value {
            out.extend_from_slice(value.as_bytes());
            continue;
        }
        out.push(b'"');
        for (number, part) in value.split('"').enumerate() {
            if number > 0 {
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

/// Where in a row the text read so far ends: a line that ends between quotes does not end the row.
#[derive(Default)]
pub enum Reading {
    /// Where a value begins.
    #[default]
    Start,
    Plain,
    Quoted,
    /// Behind a quote between quotes: it ends the value, or stands for one together with the next.
    Quote,
}

impl Reading {
    pub fn follow(&mut self, text: &[u8]) {
        for byte in text {
            *self = match (&*self, byte) {
                (Self::Quoted, b'"') => Self::Quote,
                (Self::Quoted, _) | (Self::Start | Self::Quote, b'"') => Self::Quoted,
                (_, b',') => Self::Start,
                _ => Self::Plain,
            };
        }
    }

    pub fn is_between_quotes(&self) -> bool {
        matches!(self, Self::Quoted)
    }
}

/// The values of a row. `None` if its quotes are not those of a row.
pub fn read_row(row: &str) -> Option<Vec<Option<String>>> {
    let row = row.strip_suffix('\n').unwrap_or(row);
    let mut rest = row.strip_suffix('\r').unwrap_or(row);
    let mut values = Vec::new();
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let (value, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if value.contains('"') {
                    return None;
                }
                ((!value.is_empty()).then(|| value.to_owned()), after)
            }
        };
        values.push(value);
        if after.is_empty() {
            return Some(values);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// What stands up to the closing quote, and what follows it.
fn quoted_value(text: &str) -> Option<(Option<String>, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Some((Some(value), after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[Option<&str>]) -> String {
        let mut out = Vec::new();
        write_row(&mut out, values);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let texts = [
            "plain",
            "",
            " blank ",
            "a,b",
            "\"",
            "\"\"",
            "say \"hi\"",
            "two\nlines\r\n",
            "\r",
            "é😀\0",
            "'",
            "a\u{85}b",
            "a\u{2028}b",
        ];
        for a in texts {
            for b in texts {
                let row = [Some(a), None, Some(b), None];
                let text = written(&row);
                let read = read_row(&text).unwrap();
                assert_eq!(read.iter().map(Option::as_deref).collect::<Vec<_>>(), row, "{text:?}");
                let mut reading = Reading::default();
                reading.follow(text.as_bytes());
                assert!(!reading.is_between_quotes(), "{text:?}");
            }
        }
        assert_eq!(written(&[Some("a"), None, Some("")]), "a,,\"\"\n");
        assert_eq!(written(&[Some("a\u{2029}b"), Some("é")]), "\"a\u{2029}b\",é\n");
    }

    #[test]
    fn a_row_of_others_is_read_and_a_broken_one_is_not() {
        let read = |row: &str| {
            read_row(row).map(|values| values.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>())
        };
        assert_eq!(read("a,\"b\",c\r\n").unwrap(), ["a", "b", "c"]);
        assert_eq!(read("").unwrap(), [""]);
        assert_eq!(read(",").unwrap(), ["", ""]);
        for broken in ["a\"b", "\"a", "\"a\"b", "\"a\" ,b", "a,\"", "\"a\"\"\n"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
        let is_between_quotes = |text: &[u8]| {
            let mut reading = Reading::default();
            text.chunks(1).for_each(|byte| reading.follow(byte));
            reading.is_between_quotes()
        };
        assert!(is_between_quotes(b"a,\"b\n") && is_between_quotes(b"\"\"\"\n"));
        assert!(!is_between_quotes(b"a\"b\n") && !is_between_quotes(b"a,\"b\"\"\"\n"));
    }
}
