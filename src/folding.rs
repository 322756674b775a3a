//! Unicode full case folding decides which texts are the same whatever their case.
//!
//! `ÉCOLE` finds `école` and `STRASSE` finds `straße`, because both sides are folded before they
//! are compared (Unicode Standard, section 3.13, toCasefold). Nothing is normalised: a letter and a
//! combining mark are not the letter that has the mark built in.

use memchr::memchr2_iter;
use unicase::UniCase;

/// A search word, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    folded: String,
    is_ascii: bool,
    /// Where in it the byte stands that is least likely to be met.
    rarest: usize,
}

impl Needle {
    pub fn new(word: &str) -> Self {
        Self::of_folded(fold(word))
    }

    /// Of a word that has been folded before.
    pub fn of_folded(folded: String) -> Self {
        let rarest = folded.bytes().enumerate().max_by_key(|(_, byte)| rarity(*byte));
        Self { rarest: rarest.map_or(0, |(place, _)| place), is_ascii: folded.is_ascii(), folded }
    }

    pub fn as_str(&self) -> &str {
        &self.folded
    }

    /// True if `text`, folded, has the word in it. Bytes that are not UTF-8 stand for U+FFFD.
    pub fn is_in(&self, text: &[u8]) -> bool {
        // ASCII folds to ASCII, whatever stands beside it.
        if self.is_ascii && self.is_in_ascii_of(text) {
            return true;
        }
        let only_as_it_is = text.is_ascii() || self.is_ascii && !may_fold_to_ascii(text);
        !only_as_it_is && fold(&String::from_utf8_lossy(text)).contains(&self.folded)
    }

    fn is_in_ascii_of(&self, text: &[u8]) -> bool {
        let word = self.folded.as_bytes();
        let Some(rarest) = word.get(self.rarest) else {
            return true;
        };
        let behind = word.len() - self.rarest;
        // Only where the whole word fits around it.
        let Some(text_for_rarest) =
            text.len().checked_sub(behind - 1).and_then(|end| text.get(self.rarest..end))
        else {
            return false;
        };
        memchr2_iter(*rarest, rarest.to_ascii_uppercase(), text_for_rarest)
            .any(|start| text[start..start + word.len()].eq_ignore_ascii_case(word))
    }
}

/// False if no character beyond ASCII folds to anything with ASCII in it: the few that do begin with one
/// of these bytes. Saves folding most texts that are not English.
fn may_fold_to_ascii(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte >= 0xC3) {
        rest = &rest[at..];
        match rest {
            // ß; İ; ŉ and ſ; ǰ.
            [0xC3, 0x9F, ..] | [0xC4, 0xB0, ..] | [0xC5, 0x89 | 0xBF, ..] | [0xC7, 0xB0, ..] => return true,
            // ẖ ẗ ẘ ẙ ẚ ẞ; the Kelvin sign; ﬀ to ﬆ.
            [0xE1, 0xBA, ..] | [0xE2, 0x84, ..] | [0xEF, 0xAC, ..] => return true,
            _ => rest = &rest[1..],
        }
    }
    false
}

/// How rarely a byte is met in texts: a guess that costs time where it is wrong, and nothing else.
pub fn rarity(byte: u8) -> usize {
    // The most frequent ones of European languages first; what is not among them, say a digit, is rarer.
    const FREQUENT: &[u8] = b" eaitnsrolduhcmpgfbvykwjzxq";
    FREQUENT.iter().position(|other| *other == byte).unwrap_or(FREQUENT.len())
}

/// Full case folding, without normalisation.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    UniCase::unicode(text).to_folded_case()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ascii(character: char) -> bool {
        character.is_ascii()
    }

    fn found(word: &str, text: &str) -> bool {
        Needle::new(word).is_in(text.as_bytes())
    }

    #[test]
    fn case_does_not_matter_in_any_script() {
        assert!(found("ÉCOLE", "une école ici"));
        assert!(found("école", "UNE ÉCOLE"));
        assert!(found("STRASSE", "Hauptstraße 1"));
        assert!(found("straße", "HAUPTSTRASSE"));
        assert!(found("привет", "ПРИВЕТ, мир"));
        assert!(found("ΣΟΦΟΣ", "σοφος σοφός"));
        assert!(found("ﬀ", "OFFER"));
        assert!(found("k", "\u{212a}elvin"));
    }

    #[test]
    fn every_character_that_folds_to_ascii_is_known() {
        // U+1DF95 is no character yet; unicase 2.10 has it in its table by mistake.
        let beyond_ascii = ('\u{80}'..=char::MAX).filter(|character| *character != '\u{1df95}');
        for character in beyond_ascii.filter(|character| fold(&character.to_string()).contains(is_ascii)) {
            assert!(may_fold_to_ascii(format!("é{character}").as_bytes()), "{character}");
        }
        assert!(!may_fold_to_ascii("Grüsse aus Kairo, القاهرة, 東京 🎉".as_bytes()));
    }

    #[test]
    fn wildcards_are_ordinary_characters() {
        assert!(found("100%", "is 100% sure"));
        assert!(!found("1_0", "100"));
        assert!(!found("%", "nothing"));
    }

    #[test]
    fn ascii_and_unicode_paths_agree() {
        let words = ["b", "", "abc", "c", "BC", "é", "qa", "aq", "x q", "ss", "1", "ab1c"];
        let texts =
            ["aBc", "x", "ab", "abC", "abc", "", "q", "A", "QA", "aQqA", "x x q", "S", "aB1Ab1C", "ſs"];
        for (word, text) in words.iter().flat_map(|word| texts.map(|text| (*word, text))) {
            let slow = fold(&format!("{text}ж")).contains(Needle::new(word).as_str());
            assert_eq!(found(word, text), slow, "{word} in {text}");
        }
    }
}
