//! What scripts/postgres.md tells an operator to type, typed.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::fixtures::{eventually, message, signal};
use crate::postgres::Postgres;
use crate::recipes::{blocks, project_file, replaced};
use crate::scratch::program;
use crate::service::Service;
use crate::setup::wait;

/// A shell in a folder where the scripts are, and `lyftr-webhook` in its path.
fn shell(folder: &Path, server: &Postgres, service: &Service, block: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-euc", block]).current_dir(folder).env_clear();
    shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    shell.envs(server.variables()).env("LISTEN_ADDR", service.address.host_and_port());
    shell.env("DATABASE_URL", format!("sqlite:///{}", service.path("app.db").display()));
    shell
}

#[track_caller]
fn succeeds(mut shell: Command) -> Output {
    let output = shell.output().expect("sh starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output
}

fn stop(mut follower: Child) {
    signal(follower.id(), "TERM");
    assert_eq!(wait(&mut follower).code(), Some(0));
}

#[test]
fn what_the_document_tells_to_type_leads_to_every_message_and_back_to_what_was_lost() {
    let Some(server) = Postgres::start() else { return };
    let blocks = blocks("scripts/postgres.md", "sh");
    let [prepare, follow, questions, again, export] = &blocks[..] else { panic!("five recipes: {blocks:?}") };
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    symlink(project_file("scripts"), folder.path().join("scripts")).expect("the folder is ours");
    symlink(program(), folder.path().join("lyftr-webhook")).expect("the folder is ours");
    let service = Service::start();
    let shell = |block: &str| shell(folder.path(), &server, &service, block);
    for number in 0..30 {
        service.store(&message(&format!("m{number}")));
    }

    succeeds(shell(&replaced(prepare, " --pwprompt", "")));
    let as_webhooks = |block: &str| {
        let mut shell = shell(block);
        shell.env("PGDATABASE", "messages").env("PGUSER", "webhooks");
        shell
    };
    let messages = Table(&server);
    // For a signal to go to the follower, not to the shell.
    let start = |block: &str| {
        let mut shell = as_webhooks(&replaced(block, "RECEIVER=one lyftr", "RECEIVER=one exec lyftr"));
        shell.stderr(Stdio::null()).spawn().expect("sh starts")
    };
    let follower = start(&replaced(follow, "db.example.org", &server.variables()[0].1));
    messages.becomes(30);
    stop(follower);

    let answers = String::from_utf8(succeeds(as_webhooks(questions)).stdout).expect("it is UTF-8");
    assert!(answers.contains("m19") && !answers.contains("m29"), "{answers}");

    // A standby took over that did not have them all.
    messages.query("DELETE FROM messages WHERE message_id > 'm2'");
    let follower = start(again);
    messages.becomes(30);
    stop(follower);

    messages.query("DELETE FROM messages");
    succeeds(as_webhooks(export));
    messages.becomes(30);
    assert_eq!(messages.query("SELECT DISTINCT receiver FROM messages"), "old");
}

/// Of the database that the recipes make.
struct Table<'a>(&'a Postgres);

impl Table<'_> {
    #[track_caller]
    fn query(&self, sql: &str) -> String {
        let output = self.0.psql(&["-d", "messages", "-qAtc", sql]);
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn becomes(&self, rows: usize) {
        eventually(&format!("there are {rows} messages"), || {
            (self.query("SELECT count(*) FROM messages") == rows.to_string()).then_some(())
        });
    }
}
