//! The manual page, the README and --help name the same commands and settings, and those are the program's.

use std::collections::BTreeSet;

use crate::setup::Setup;

const PAGE: &str = include_str!("../../scripts/lyftr-webhook.8");
const README: &str = include_str!("../../README.md");
const CONFIG: &str = include_str!("../../src/config.rs");

fn help() -> String {
    Setup::new().run(&["--help"]).stdout
}

/// The part of a text behind its only `start`, up to the next `end`.
#[track_caller]
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start:?} in {text}"));
    rest.split_once(end).map_or(rest, |(part, _)| part)
}

/// The names of settings in a list such as `A or A_FILE, B (_FILE), C (default)`.
fn names(list: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut last = String::new();
    for word in list.replace('`', "").split_whitespace() {
        let word = word.trim_end_matches(',');
        if word == "(_FILE)" {
            found.insert(format!("{last}_FILE"));
        }
        let is_name = word.len() > 2
            && word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if is_name {
            last = word.to_owned();
            found.insert(word.to_owned());
        }
    }
    found
}

/// What `config.rs` looks up; a secret can be in a file as well.
fn settings_of_the_program() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in CONFIG.match_indices("env.") {
        let Some((call, rest)) = CONFIG[at + 4..].split_once('(') else { continue };
        let Some((name, _)) = rest.trim_start().strip_prefix('"').and_then(|name| name.split_once('"'))
        else {
            continue;
        };
        if call == "secret" {
            found.insert(format!("{name}_FILE"));
        }
        found.insert(name.to_owned());
    }
    found
}

#[test]
fn the_same_settings_are_in_the_manual_page_the_readme_and_the_help() {
    let settings = settings_of_the_program();
    assert!(settings.contains("WORKERS") && settings.contains("API_TOKEN_FILE"), "{settings:?}");
    let page: BTreeSet<_> =
        PAGE.lines().filter_map(|line| line.strip_prefix(".It Ev ")).flat_map(names).collect();
    assert_eq!(page, settings, "left: .It Ev lines of scripts/lyftr-webhook.8, right: src/config.rs");
    let rows = between(README, "\n## Settings\n", "\nCommands:");
    let cells = rows.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let readme: BTreeSet<_> = cells.flat_map(names).collect();
    assert_eq!(readme, settings, "left: the table of settings in README.md, right: src/config.rs");
    let help = help();
    let list = between(&help, "environment:\n", "\n\n");
    // A default such as INFO is no name.
    let help: BTreeSet<_> = names(list).into_iter().collect();
    assert_eq!(help, settings, "left: --help, right: src/config.rs");
}

#[test]
fn the_same_commands_are_in_the_manual_page_the_readme_and_the_help() {
    let help = help();
    let lines = between(&help, "Commands:\n", "\n\n").lines();
    let commands: BTreeSet<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains("serve") && commands.contains("backup"), "{commands:?}");
    let items = PAGE.lines().filter_map(|line| line.strip_prefix(".It Cm ")?.split(' ').next());
    assert_eq!(items.collect::<BTreeSet<_>>(), commands, "left: scripts/lyftr-webhook.8, right: --help");
    let listed = between(README, "\nCommands: ", "Exit status");
    for command in commands {
        let named = [format!("`{command}"), format!("[{command}]")];
        assert!(named.iter().any(|form| listed.contains(form)), "{command} is not in the README: {listed}");
    }
    for option in ["version", "help"] {
        assert!(
            help.contains(&format!("--{option}")) && PAGE.contains(&format!(".Fl \\-{option}")),
            "{option}"
        );
    }
}

#[test]
fn the_defaults_in_the_manual_page_are_those_of_the_help() {
    let help = help();
    let list = between(&help, "environment:\n", "\n\n").replace('\n', " ");
    let mut compared = 0;
    for part in list.split(", ") {
        let Some((name, default)) = part.trim().trim_end_matches(')').split_once(" (") else { continue };
        if default == "_FILE" {
            continue;
        }
        let item = between(PAGE, &format!(".It Ev {name}\n"), "\n.It ");
        assert!(item.contains(default), "{name}: {default} is not in {item}");
        compared += 1;
    }
    assert!(compared >= 7, "{list}");
}
