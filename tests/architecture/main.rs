//! The floors and the homes of the source: who may import whom, and which foreign crate lives where.

mod circles;
mod source;

use source::{
    Source, code_of, has_word, is_one_sentence, names_after, opening, sources, sources_of_tests, types,
};

/// Every room and its floor. A file imports from lower floors or its own folder; never up, never sideways.
const FLOORS: [(u8, &[&str]); 9] = [
    (8, &["main", "cli"]),
    (7, &["server"]),
    (6, &["routes"]),
    (5, &["app", "follow"]),
    (4, &["store", "config", "http_client"]),
    (3, &["whatsapp", "secrets", "throttle", "http_head"]),
    (2, &["message", "filter", "signature", "http", "log", "metrics", "exposition", "procfs"]),
    (
        1,
        &[
            "advice",
            "client",
            "clock",
            "consumers",
            "cursor",
            "feed_cursor",
            "hosts",
            "inherited",
            "notify",
            "priority",
            "validation_error",
        ],
    ),
    (
        0,
        &[
            "authority",
            "escape",
            "file",
            "folding",
            "labels",
            "timestamp",
            "url",
            "limits",
            "mutex",
            "os",
            "sort_key",
            "version",
            "waker",
        ],
    ),
];

/// The floors inside the store, each a folder or a file of it. The thread that keeps the index up looks at what
/// queries do, so it is above them, though what it writes is below.
const STORE_FLOORS: [&[&str]; 9] = [
    &["error"],
    &["database"],
    &["checkpoint"],
    &["index"],
    &["read"],
    &["index/indexer"],
    &["write"],
    &["maintenance"],
    &["mod", "oracle", "delivery_tests", "delivery_crash_tests"],
];

/// A file is read at one sitting.
const MAX_LINES: usize = 400;

/// The map of the house: it names every room, and nobody imports it.
const MAP: &str = "lib";

/// A word, and the one place whose code may use it.
const HOMES: [(&str, &str); 4] =
    [("tiny_http", "server/"), ("threadpool", "server/"), ("rusqlite", "store/"), ("unsafe", "os.rs")];

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// The rooms that a file reaches into.
fn imports(source: &Source) -> Vec<&str> {
    let mut rooms = names_after(&source.code, "crate::");
    // One step up from a file right below `src` is the root, from one in a folder it is the folder. A module
    // within the file adds a step, so only names of rooms are taken for rooms.
    let up = if source.is_in_a_folder() { "super::super::" } else { "super::" };
    rooms.extend(names_after(&source.code, up).into_iter().filter(|name| floor(name).is_some()));
    rooms
}

#[test]
fn every_file_has_a_floor() {
    let homeless: Vec<_> = sources()
        .iter()
        .filter(|file| file.room() != MAP && floor(file.room()).is_none())
        .map(|file| file.path.clone())
        .collect();
    assert!(homeless.is_empty(), "these are in no room of the table: {homeless:?}");
}

#[test]
fn imports_lead_down() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        if room == MAP {
            continue;
        }
        for target in imports(&source) {
            let allowed = target == room
                || match (floor(room), floor(target)) {
                    (Some(from), Some(to)) => to < from,
                    _ => false,
                };
            if !allowed {
                wrong.push(format!("{} imports {target}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "not from a lower floor: {wrong:#?}");
}

/// The floor of a path below `store/`: that of the longest entry of the table that it begins with.
fn store_floor(path: &str) -> Option<usize> {
    let is_at =
        |entry: &str| path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let entries = STORE_FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, entries)| entries.iter().map(move |entry| (floor, *entry)));
    entries.filter(|(_, entry)| is_at(entry)).max_by_key(|(_, entry)| entry.len()).map(|(floor, _)| floor)
}

/// What a file of the store names of other rooms there: `room`, or `room/file` where that has a floor of its own.
fn store_imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for room in names_after(&source.code, "crate::store::") {
        found.push(room.to_owned());
        let files = names_after(&source.code, &format!("crate::store::{room}::"));
        found.extend(files.into_iter().map(|file| format!("{room}/{file}")));
    }
    found
}

#[test]
fn imports_lead_down_inside_the_store_as_well() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(path) = source.path.strip_prefix("store/").and_then(|path| path.strip_suffix(".rs")) else {
            continue;
        };
        let room = path.split('/').next().unwrap_or_default();
        let Some(own) = store_floor(path) else {
            wrong.push(format!("{path} is in no room of the table"));
            continue;
        };
        for target in store_imports(&source) {
            let is_own = target.split('/').next() == Some(room);
            if !is_own && store_floor(&target).is_none_or(|floor| floor >= own) {
                wrong.push(format!("{path} imports {target}"));
            }
        }
        // A path that climbs out of its room would pass by what is looked at here.
        let depth = path.matches('/').count() + usize::from(source.code.contains("mod tests"));
        if path.contains('/') && source.code.contains(&"super::".repeat(depth + 1)) {
            wrong.push(format!("{path} climbs out of its room"));
        }
    }
    assert!(wrong.is_empty(), "not from a lower floor: {wrong:#?}");
}

#[test]
fn no_two_types_share_a_name() {
    let mut homes = std::collections::BTreeMap::<String, Vec<String>>::new();
    for source in sources() {
        for name in types(&source) {
            homes.entry(name.to_owned()).or_default().push(source.path.clone());
        }
    }
    homes.retain(|_, files| files.len() > 1);
    assert!(homes.is_empty(), "one word for one thing: {homes:#?}");
}

#[test]
fn a_file_is_read_at_one_sitting() {
    let long: Vec<_> = sources()
        .iter()
        .chain(&sources_of_tests())
        .filter(|source| source.text.lines().count() > MAX_LINES)
        .map(|source| source.path.clone())
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}

#[test]
fn every_file_opens_with_one_sentence() {
    let wrong: Vec<_> = sources()
        .iter()
        .filter(|source| !is_one_sentence(&opening(&source.text)))
        .map(|source| format!("{}: {}", source.path, opening(&source.text)))
        .collect();
    assert!(wrong.is_empty(), "no sentence of its own: {wrong:#?}");
}

#[test]
fn foreign_crates_and_unsafe_code_have_one_home() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (word, home) in HOMES {
            let at_home = source.path == home || (home.ends_with('/') && source.path.starts_with(home));
            if !at_home && has_word(&source.code, word) {
                wrong.push(format!("{} names {word}, whose home is {home}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_reader_of_sources_sees_code_and_nothing_else() {
    let text = r####"
        // unsafe in a comment
        /* unsafe /* nested unsafe */ unsafe */
        const A: &str = "unsafe \" unsafe";
        const B: &str = r#"unsafe " unsafe"#;
        const C: &[u8] = b"unsafe";
        const D: [char; 2] = ['"', '\''];
        fn life<'a>(text: &'a str) -> &'a str { text }
        #![deny(unsafe_op_in_unsafe_fn)]
        use crate::{log::{Line, sink::Sink}, metrics, clock::now as time};
        use super::http;
        fn f() { crate::limits::BODY; $crate::os::peer(); not_crate::x(); }
    "####;
    let source = Source { path: "signature.rs".to_owned(), text: text.to_owned(), code: code_of(text) };
    assert!(!has_word(&source.code, "unsafe"), "{}", source.code);
    assert!(has_word(&code_of("let x = unsafe { y };"), "unsafe"));
    assert_eq!(imports(&source), ["log", "metrics", "clock", "limits", "os", "http"]);

    let file =
        |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned(), code: code_of(text) };
    let inner = file("store/read/page.rs", "use super::super::app; use super::writer;");
    assert_eq!(imports(&inner), ["app"]);
    let inner = file(
        "store/read/page.rs",
        "use crate::store::index::{self, indexer::Wake}; crate::store::write::f();",
    );
    assert_eq!(store_imports(&inner), ["index", "index/self", "index/indexer", "write", "write/f"]);
    assert_eq!(store_floor("index/indexer"), Some(5));
    assert!(store_floor("index/self") < store_floor("index/indexer") && store_floor("elsewhere").is_none());
    let types_of = "pub(super) struct A<'a>(&'a str);\nenum B {}\ntype C = u8; impl I for A { type D = C; }\nmod tests { struct E; }";
    assert_eq!(types(&file("some.rs", types_of)), ["A", "B", "C"]);
    assert!(is_one_sentence(&opening("//! A gate\n//! opens, as in 4.1. of it.\n//!\n//! More. And more.")));
    assert!(!is_one_sentence("One. Two.") && !is_one_sentence("No end") && !is_one_sentence(""));
}
