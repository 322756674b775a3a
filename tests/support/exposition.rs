//! The Prometheus text format, read as strictly as a server reads it.

use std::collections::{BTreeMap, HashSet};

/// One family: its type, and its samples as (name, labels, value).
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: bool,
    pub(crate) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a label has a quoted value");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("a label value ends with a quote") {
                (end, '"') => break end,
                (_, '\\') => match characters.next().expect("a backslash escapes something").1 {
                    'n' => value.push('\n'),
                    other => {
                        assert!(other == '"' || other == '\\', "\\{other} is no escape");
                        value.push(other);
                    }
                },
                (_, character) => value.push(character),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} is given twice");
        rest = after[end + 1..].trim_start_matches(',');
    }
    labels
}

/// Reads an exposition as strictly as a Prometheus server does.
#[track_caller]
pub(crate) fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut series = HashSet::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name) = (words.next().unwrap_or_default(), words.next().expect("a name"));
            assert!(["HELP", "TYPE"].contains(&keyword), "{line}");
            if name != current {
                assert!(!families.contains_key(name), "{name} comes in two places");
                name.clone_into(&mut current);
            }
            let family = families.entry(current.clone()).or_default();
            assert!(family.samples.is_empty(), "{line} comes after its samples");
            match keyword {
                "HELP" => family.help = true,
                _ => words.next().expect("a type").clone_into(&mut family.kind),
            }
            continue;
        }
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
        let (name, labels) = match name_and_labels.split_once('{') {
            None => (name_and_labels, BTreeMap::new()),
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("labels end with a brace"))),
        };
        assert!(name.starts_with(&current), "{name} stands among the samples of {current}");
        assert!(series.insert((name.to_owned(), labels.clone())), "{line} is given twice");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        families.get_mut(&current).expect("HELP and TYPE come first").samples.push((
            name.to_owned(),
            labels,
            value,
        ));
    }
    families
}
