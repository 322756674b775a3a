//! The one definition of "the same text, whatever its case": Unicode full case folding.
//!
//! `ÉCOLE` finds `école` and `STRASSE` finds `straße`, because both sides are folded before they
//! are compared (Unicode Standard, section 3.13, toCasefold). Nothing is normalised: a letter and a
//! combining mark are not the letter that has the mark built in.

use unicase::UniCase;

/// A search word, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle(String);

impl Needle {
    pub fn new(word: &str) -> Self {
        Self(fold(word))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// True if `text`, folded, has `folded_word` in it.
pub fn contains_folded(text: &str, folded_word: &str) -> bool {
    if text.is_ascii() {
        // ASCII folds to ASCII, and a longer word cannot be in it.
        let may_hold = folded_word.is_ascii() && folded_word.len() <= text.len();
        return may_hold && text.to_ascii_lowercase().contains(folded_word);
    }
    fold(text).contains(folded_word)
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    UniCase::unicode(text).to_folded_case()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(word: &str, text: &str) -> bool {
        contains_folded(text, Needle::new(word).as_str())
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
        for (word, text) in
            [("b", "aBc"), ("", "x"), ("abc", "ab"), ("c", "abC"), ("BC", "abc"), ("é", "abc")]
        {
            let slow = fold(&format!("{text}ж")).contains(Needle::new(word).as_str());
            assert_eq!(found(word, text), slow, "{word} in {text}");
        }
    }
}
