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

/// What `config.rs` looks up: its words in capitals. A secret can be in a file as well.
fn settings_of_the_program() -> BTreeSet<String> {
    let program = CONFIG.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    let mut before = "";
    for (at, part) in program.split('"').enumerate() {
        // Every second part is between quotes; INFO is a default. systemd sets the folder of credentials.
        let is_setting = at % 2 == 1
            && part.len() > 4
            && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && part != "CREDENTIALS_DIRECTORY";
        if is_setting {
            found.insert(part.to_owned());
            if before.ends_with(".secret(") {
                found.insert(format!("{part}_FILE"));
            }
        }
        before = part;
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
    // What is said of a command goes on in lines that begin farther in.
    let lines = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let commands: BTreeSet<_> = lines.filter_map(|line| line.split(' ').next()).collect();
    assert!(commands.contains("serve") && commands.contains("backup"), "{commands:?}");
    let items = PAGE.lines().filter_map(|line| line.strip_prefix(".It Cm ")?.split(' ').next());
    assert_eq!(items.collect::<BTreeSet<_>>(), commands, "left: scripts/lyftr-webhook.8, right: --help");
    for command in commands {
        let forms = ["`{}`", "`{} ", "[{}]", "lyftr-webhook {} "].map(|form| form.replace("{}", command));
        assert!(forms.iter().any(|form| README.contains(form)), "{command} is not in the README");
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
        let Some((name, default)) = part.trim().trim_end_matches(')').rsplit_once(" (") else { continue };
        if default == "_FILE" {
            continue;
        }
        let name = name.trim_end_matches(" (_FILE)");
        let items = PAGE.split("\n.It Ev ").skip(1);
        let item = items.into_iter().find(|item| item.split([' ', '\n']).next() == Some(name));
        let item =
            item.unwrap_or_else(|| panic!("no item {name}")).split("\n.It ").next().unwrap_or_default();
        assert!(item.contains(default), "{name}: {default} is not in {item}");
        compared += 1;
    }
    assert!(compared >= 7, "{list}");
}
