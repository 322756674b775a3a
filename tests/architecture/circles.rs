//! A circle of imports joins files of one folder that can only be read together.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, code_of, names_after, sources};

/// Those that are there still. None is to be added; who has cut one takes it out.
const KNOWN: [&[&str]; 5] = [
    &["server/completions", "server/request_context"],
    &["store/read/epoch", "store/read/pool", "store/read/pooled_connection"],
    &["store/read/originals", "store/read/page"],
    &["store/write/batch", "store/write/items"],
    &["store/write/writer", "store/write/writer_thread"],
];

/// The files beside it, by path, that each file imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn module(source: &Source) -> Option<&str> {
    let path = source.path.strip_suffix(".rs")?;
    // What a folder shares is in its own file, which everybody in it may use.
    (path.contains('/') && !path.ends_with("/mod")).then_some(path)
}

fn imports_beside(sources: &[Source]) -> Imports {
    let modules: BTreeSet<&str> = sources.iter().filter_map(module).collect();
    let of = |source: &Source| {
        let path = module(source)?;
        let (folder, _) = path.rsplit_once('/')?;
        // In the tests of a file one step up is the file itself.
        let code = source.code.split("mod tests").next().unwrap_or_default().replace("super::super::", "");
        let from_the_root = format!("crate::{}::", folder.replace('/', "::"));
        let named = names_after(&code, "super::").into_iter().chain(names_after(&code, &from_the_root));
        let beside = named.map(|name| format!("{folder}/{name}"));
        let beside = beside.filter(|other| other != path && modules.contains(other.as_str()));
        Some((path.to_owned(), beside.collect()))
    };
    sources.iter().filter_map(of).collect()
}

/// Where one gets to from here, by however many imports.
fn reached<'a>(imports: &'a Imports, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<_> = imports[from].iter().collect();
    while let Some(next) = open.pop() {
        if found.insert(next.as_str()) {
            open.extend(&imports[next]);
        }
    }
    found
}

/// The files of each circle; circles that share a file are one.
fn circles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let reached: BTreeMap<_, _> =
        imports.keys().map(|from| (from.as_str(), reached(imports, from))).collect();
    let circle = |from: &str| -> Vec<&str> {
        reached[from].iter().copied().filter(|other| reached[other].contains(from)).collect()
    };
    imports.keys().map(|from| circle(from)).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn no_new_circle_of_imports_joins_files_of_a_folder() {
    let imports = imports_beside(&sources());
    let found = circles(&imports);
    let known: BTreeSet<_> = KNOWN.iter().map(|circle| circle.to_vec()).collect();
    let new: Vec<_> = found.difference(&known).collect();
    let cut: Vec<_> = known.difference(&found).collect();
    assert!(new.is_empty(), "these import each other: {new:#?}");
    assert!(cut.is_empty(), "cut, and still in the list: {cut:#?}");
}

#[test]
fn a_circle_is_seen_however_long_it_is_and_however_it_is_named() {
    let file =
        |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned(), code: code_of(text) };
    let imports = imports_beside(&[
        file("a/one.rs", "use super::{Shared, two::Thing}; mod tests { use super::three; }"),
        file("a/two.rs", "fn f() { crate::a::three::g(); } // super::four"),
        file("a/three.rs", "use crate::a::{four, one::Thing};"),
        file("a/four.rs", "use super::super::one; use super::one_more;"),
        file("a/mod.rs", "use super::four; pub struct Shared;"),
        file("b/one.rs", "use crate::a::one; use super::two;"),
        file("b/two.rs", "use super::one::it;"),
    ]);
    assert_eq!(
        circles(&imports),
        BTreeSet::from([vec!["a/one", "a/three", "a/two"], vec!["b/one", "b/two"]])
    );
}
