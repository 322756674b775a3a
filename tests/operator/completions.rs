//! The shells' completions, asked of the shells themselves: they offer what `--help` names.

use std::process::{Command, Stdio};

use crate::setup::Setup;
use crate::skip::has;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/completions");

/// Prints what bash would offer for the words behind the program's name.
const BASH: &str = r#"source "$0/lyftr-webhook.bash"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lyftr_webhook; printf '%s\n' "${COMPREPLY[@]}""#;

/// Types the words and a tab into an interactive zsh, and prints what it shows.
const ZSH: &str = r#"zmodload zsh/zpty
zpty shell 'TERM=dumb PS1= zsh -f -i'
zpty -w shell "fpath=($0 \$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' list-choices; LISTMAX=0"
zpty -w shell 'print BEG''UN'
while zpty -r shell line && [[ $line != BEGUN* ]]; do :; done
zpty -w -n shell "$*"$'\t\n'
zpty -w shell 'print END''ED'
while zpty -r shell line && [[ $line != ENDED* ]]; do print -rn -- $line; done"#;

const FISH: &str = r#"source $argv[1]/lyftr-webhook.fish; complete -C "$argv[2..]""#;

fn commands_and_options() -> (Vec<String>, Vec<String>) {
    let help = Setup::new().run(&["--help"]).stdout;
    let part = |title: &str| help.split_once(title).expect("help has this part").1.split("\n\n").next();
    // What is said of a command goes on in lines that begin farther in.
    let is_item = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let words =
        |title: &str| part(title).unwrap_or_default().lines().filter(is_item).map(str::to_owned).collect();
    let lines: (Vec<String>, Vec<String>) = (words("Commands:"), words("Options:"));
    let commands = lines.0.iter().filter_map(|line| line.split_whitespace().next());
    let options =
        lines.1.iter().filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")));
    (commands.map(str::to_owned).collect(), options.map(str::to_owned).collect())
}

/// What a shell offers after these words, the last of which is being typed; `None` without the shell.
fn offered(shell: &str, words: &[&str]) -> Option<String> {
    if !has(&[shell]) {
        return None;
    }
    let mut command = Command::new(shell);
    match shell {
        "bash" => command.args(["--norc", "-c", BASH, FOLDER]),
        "zsh" => command.args(["-f", "-c", ZSH, FOLDER]),
        _ => command.args(["--no-config", "-c", FISH, FOLDER]),
    };
    // There are files to complete there; a user's own configuration is left out.
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).env("HOME", "/nowhere");
    let output = command.args(words).stdin(Stdio::null()).output().expect("a shell starts");
    assert!(output.status.success(), "{shell}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|found| found == word)
}

fn every_shell(words: &[&str], check: impl Fn(&str, &str)) {
    for shell in ["bash", "zsh", "fish"] {
        if let Some(offered) = offered(shell, words) {
            check(shell, &offered);
        }
    }
}

#[test]
fn every_shell_offers_every_command() {
    let (commands, _) = commands_and_options();
    assert!(commands.len() >= 4, "{commands:?}");
    every_shell(&["lyftr-webhook", ""], |shell, offered| {
        for command in &commands {
            assert!(has_word(offered, command), "{shell} does not offer {command}: {offered}");
        }
    });
}

#[test]
fn every_shell_offers_every_option() {
    let (_, options) = commands_and_options();
    assert!(options.len() >= 2, "{options:?}");
    every_shell(&["lyftr-webhook", "--"], |shell, offered| {
        for option in &options {
            assert!(has_word(offered, option), "{shell} does not offer {option}: {offered}");
        }
    });
}

#[test]
fn every_shell_offers_files_where_a_file_belongs_and_nowhere_else() {
    for command in ["backup", "restore", "check", "import"] {
        every_shell(&["lyftr-webhook", command, "me"], |shell, offered| {
            assert!(has_word(offered, "metrics.rs"), "{shell}, {command}: {offered}");
        });
    }
    for command in ["sign", "export"] {
        every_shell(&["lyftr-webhook", command, "me"], |shell, offered| {
            assert!(!has_word(offered, "metrics.rs"), "{shell}, {command}: {offered}");
        });
    }
}

#[test]
fn every_shell_offers_what_export_takes() {
    every_shell(&["lyftr-webhook", "export", "--"], |shell, offered| {
        for option in ["--csv", "--from", "--since", "--q"] {
            assert!(has_word(offered, option), "{shell} does not offer {option}: {offered}");
        }
    });
}

#[test]
fn every_shell_offers_what_follow_takes() {
    every_shell(&["lyftr-webhook", "follow", "--"], |shell, offered| {
        for option in ["--exec", "--post", "--state", "--dead-letters", "--from-file"] {
            assert!(has_word(offered, option), "{shell} does not offer {option}: {offered}");
        }
    });
}
