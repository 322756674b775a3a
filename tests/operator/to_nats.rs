//! `scripts/to-nats` brings the messages of a follower into a stream of a real nats-server, each of them once.

use std::process::Child;

use serde_json::{Value, json};

use crate::fixtures::{eventually, message, message_with};
use crate::nats_server::NatsServer;
use crate::output::{Lines, parse_lines};
use crate::recipes::project_file;
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

/// `follow --exec scripts/to-nats` at work.
pub(crate) struct Follower {
    child: Child,
    pub(crate) stderr: Lines,
    /// Its folder, with its state.
    _setup: Setup,
}

impl Follower {
    pub(crate) fn start(
        service: &Service,
        server: &NatsServer,
        variables: &[(&str, &str)],
        options: &[&str],
    ) -> Self {
        let mut setup = Setup::new().with("NATS_URL", &server.url()).with("RECEIVER", "one");
        for (name, value) in variables {
            setup = setup.with(name, value);
        }
        let mut setup = setup.with("PATH", "/usr/bin:/bin");
        let url = format!("http://{}", service.address.host_and_port());
        let script = project_file("scripts/to-nats").display().to_string();
        let arguments =
            [&["follow", "--url", &url, "--batch", "500"], options, &["--exec", &script]].concat();
        let mut child = setup.command(&arguments).spawn().expect("the executable starts");
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Self { child, stderr, _setup: setup }
    }

    /// Waits until the stream has so many messages.
    #[track_caller]
    pub(crate) fn fills(&self, server: &NatsServer, count: usize) {
        eventually(&format!("the stream has {count} messages"), || {
            let answer = server.ask("STREAM.INFO.messages", &json!({}));
            (answer["state"]["messages"] == count).then_some(())
        });
    }

    /// Waits until it has handed on everything. Its name is `other`.
    #[track_caller]
    fn is_at_the_end(&self, service: &Service) {
        let lag = "feed_lag_messages{consumer=\"other\"} 0";
        eventually("the follower is at the end", || {
            let metrics = service.get("/metrics").expect(200).text();
            metrics.lines().any(|line| line == lag).then_some(())
        });
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn rows(service: &Service) -> Vec<Value> {
    let page = service.get("/feed?limit=1000&original=1").expect(200).json();
    page["data"].as_array().expect("a page has rows").clone()
}

#[test]
fn every_message_is_in_a_stream_that_is_made_for_it_once_and_as_it_was_handed_on() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let (service, server) = (Service::start(), NatsServer::start());
    // What Unicode takes for the end of a line is none.
    service.store(&message_with("m0", &json!({"text": "a\u{2028}b\u{85}c\u{0}\u{1f600}\r\n\"\\"})));
    for number in 1..700 {
        service.store(&message(&format!("m{number}")));
    }
    let follower = Follower::start(&service, &server, &[], &[]);
    follower.fills(&server, 700);
    let (stored, rows) = (server.messages("messages"), rows(&service));
    assert_eq!(stored.iter().map(|message| message.json()).collect::<Vec<_>>(), rows);
    assert_eq!(stored[1].header("Nats-Msg-Id"), Some("m1"));
    assert_eq!(stored[1].header("Lyftr-Receiver"), Some("one"));
    let config = &server.stream("messages")["config"];
    for (name, value) in [
        ("subjects", json!(["messages"])),
        ("storage", json!("file")),
        ("num_replicas", json!(1)),
        ("discard", json!("new")),
        ("retention", json!("limits")),
        ("max_msgs", json!(-1)),
        ("max_age", json!(0)),
        ("duplicate_window", json!(3_600_000_000_000_u64)),
    ] {
        assert_eq!(config[name], value, "{name}: {config}");
    }
    // Another follower of the same messages, as that of a second receiver that took them as well.
    let other = Follower::start(&service, &server, &[("RECEIVER", "two")], &["--name", "other"]);
    service.store(&message("last"));
    follower.fills(&server, 701);
    other.is_at_the_end(&service);
    assert_eq!(server.messages("messages").len(), 701);
}

#[test]
fn nothing_is_lost_and_nothing_is_there_twice_when_the_server_is_killed_again_and_again() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let (service, mut server) = (Service::start(), NatsServer::start());
    let follower = Follower::start(&service, &server, &[], &[]);
    let mut sent = Vec::new();
    for round in 0..8 {
        for number in 0..100 {
            let id = format!("round {round} message {number}");
            service.store(&message(&id));
            sent.push(id);
        }
        server.kill();
        for number in 100..120 {
            let id = format!("round {round} message {number}");
            service.store(&message(&id));
            sent.push(id);
        }
        server.run();
    }
    follower.fills(&server, sent.len());
    assert_eq!(server.ids("messages"), sent);
    let told = parse_lines(&follower.stderr.so_far());
    assert!(told.iter().any(|line| line["event"] == "recovered"), "{told:?}");
}
