//! Escapes stand for characters that would end, hide or rearrange a line of text for whoever looks at it.

use std::fmt::Write as _;

/// Unicode's general category Cf, format characters (Unicode 16.0, DerivedGeneralCategory.txt).
const FORMAT: [(u32, u32); 21] = [
    (0xad, 0xad),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x180e, 0x180e),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x2064),
    (0x2066, 0x206f),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0001, 0xe0001),
    (0xe0020, 0xe007f),
];

/// True for control characters, for the line ends of Unicode, and for what is invisible itself and turns,
/// joins or hides its neighbours: a log shows none of them as they are.
pub fn is_deceptive(c: char) -> bool {
    let code = u32::from(c);
    if code < 0x7f {
        return code < 0x20;
    }
    let is_format = || FORMAT.iter().any(|(first, last)| (*first..=*last).contains(&code));
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_format()
}

/// The text with each such character as JSON escapes it, as UTF-16: `\u202e`, `\udb40\udc01`.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) { push_escape(&mut out, c) } else { out.push(c) }
    }
    out
}

/// Valid JSON on one line: a line end in it can only stand between two values, where a blank means the same.
pub fn json_on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// One character as JSON escapes it.
pub fn push_escape(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing into a String does not fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_escaped_and_everything_else_is_left() {
        for (text, shown) in [
            ("plain é 😀 \u{301} عربي", "plain é 😀 \u{301} عربي"),
            ("a\n\r\t\0b", r"a\u000a\u000d\u0009\u0000b"),
            ("\u{7f}\u{85}\u{9b}", r"\u007f\u0085\u009b"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            ("\u{202e}gpj\u{2066}\u{200b}\u{feff}\u{ad}", r"\u202egpj\u2066\u200b\ufeff\u00ad"),
            ("\u{e0001}\u{e007f}\u{1d173}", r"\udb40\udc01\udb40\udc7f\ud834\udd73"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(FORMAT.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(FORMAT.iter().all(|(first, last)| first <= last));
    }
}
