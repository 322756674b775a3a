//! The one definition of "the same text, whatever its case": Unicode full case folding.
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
        Self { rarest: rarest.map_or(0, |(place, _)| place), folded }
    }

    pub fn as_str(&self) -> &str {
        &self.folded
    }

    /// True if `text`, folded, has the word in it. Bytes that are not UTF-8 stand for U+FFFD.
    pub fn is_in(&self, text: &[u8]) -> bool {
        // ASCII folds to ASCII, whatever stands beside it.
        if self.folded.is_ascii() && self.is_in_ascii_of(text) {
            return true;
        }
        !text.is_ascii() && fold(&String::from_utf8_lossy(text)).contains(&self.folded)
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
