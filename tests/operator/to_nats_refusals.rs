//! What `scripts/to-nats` makes of servers, streams and users that do not take a batch: an end that is not confirmed, and
//! one line that says why.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fixtures::message;
use crate::nats_server::NatsServer;
use crate::nats_stub::{self, Then};
use crate::recipes::project_file;
use crate::skip::has;

/// How a batch has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn with(&self, code: i32, said: &str) {
        assert!(self.code == Some(code) && self.said.contains(said), "{code} and {said:?}: {self:?}");
        assert!(self.said.lines().count() <= 1, "one line: {self:?}");
    }
}

/// Hands lines to the script by itself, as `follow` does.
pub(crate) fn hand_on(lines: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(project_file("scripts/to-nats"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("RECEIVER", "one").envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the script starts");
    // One that refuses its settings reads nothing.
    drop(child.stdin.take().expect("stdin is a pipe").write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    Ended { code: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Messages with these ids, a line each.
pub(crate) fn lines(ids: &[&str]) -> String {
    ids.iter().map(|id| format!("{}\n", message(id))).collect()
}

/// A stream as an operator may have made it.
fn stream(server: &NatsServer, fields: &serde_json::Value) {
    let mut config =
        json!({"name": "messages", "subjects": ["messages"], "storage": "file", "num_replicas": 1});
    for (name, value) in fields.as_object().expect("fields come as an object") {
        config[name] = value.clone();
    }
    let name = config["name"].as_str().expect("a stream has a name");
    let answer = server.ask(&format!("STREAM.CREATE.{name}"), &config);
    assert!(answer.get("config").is_some(), "{answer}");
}

#[test]
fn a_stream_that_an_operator_has_made_stays_as_it_is_and_must_fit() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let server = NatsServer::start();
    let url = server.url();
    let given = json!({"name": "hooks", "subjects": ["in.*.messages", "other.>"], "storage": "memory", "duplicate_window": 120_000_000_000_u64});
    stream(&server, &given);
    let before = server.stream("hooks")["config"].clone();
    let named = [("NATS_URL", &*url), ("NATS_STREAM", "hooks")];
    let at = |subject| hand_on(&lines(&["m1", "m2"]), &[&named[..], &[("NATS_SUBJECT", subject)]].concat());
    at("in.x.messages").with(0, "");
    at("other.a.b").with(0, "");
    assert_eq!(server.ids("hooks"), ["m1", "m2"]);
    assert_eq!(server.stream("hooks")["config"], before);
    for subject in ["in.messages", "in.x.y.messages", "other", "hooks"] {
        at(subject).with(78, "set NATS_SUBJECT");
    }
    // The subject belongs to another stream.
    hand_on(&lines(&["m3"]), &[("NATS_URL", &url), ("NATS_SUBJECT", "in.x.messages")]).with(75, "overlap");

    stream(&server, &json!({"name": "mute", "subjects": ["mute"], "no_ack": true}));
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_STREAM", "mute")]).with(78, "no_ack");

    // What would be acknowledged and not kept.
    let unkept = json!({"name": "unkept", "subjects": ["unkept"], "retention": "interest"});
    stream(&server, &unkept);
    let unkept = [("NATS_URL", &*url), ("NATS_STREAM", "unkept")];
    hand_on(&lines(&["m1"]), &unkept).with(78, "no consumer");
    let reader = json!({"stream_name": "unkept", "config": {"durable_name": "r", "ack_policy": "explicit"}});
    server.ask("CONSUMER.DURABLE.CREATE.unkept.r", &reader);
    hand_on(&lines(&["m1"]), &unkept).with(0, "");
    assert_eq!(server.ids("unkept"), ["m1"]);
    let mut one = json!({"name": "one", "subjects": ["one"], "discard": "new", "max_msgs_per_subject": 1});
    stream(&server, &one);
    let named = [("NATS_URL", &*url), ("NATS_STREAM", "one")];
    hand_on(&lines(&["m1", "m2"]), &named).with(78, "discard_new_per_subject");
    one["discard_new_per_subject"] = json!(true);
    server.ask("STREAM.UPDATE.one", &one);
    hand_on(&lines(&["m1", "m2"]), &named).with(75, "1 of 2 messages were not acknowledged");

    stream(&server, &json!({"max_msgs": 3, "discard": "new"}));
    let full = hand_on(&lines(&["m1", "m2", "m3", "m4", "m5"]), &[("NATS_URL", &url)]);
    full.with(75, "2 of 5 messages were not acknowledged: maximum messages exceeded");
    // What is in it is not counted again.
    hand_on(&lines(&["m1", "m2", "m3"]), &[("NATS_URL", &url)]).with(0, "");
    let mut config = server.stream("messages")["config"].clone();
    config["max_msgs"] = json!(-1);
    server.ask("STREAM.UPDATE.messages", &config);
    hand_on(&lines(&["m1", "m2", "m3", "m4", "m5"]), &[("NATS_URL", &url)]).with(0, "");
    assert_eq!(server.ids("messages"), ["m1", "m2", "m3", "m4", "m5"]);
    config["sealed"] = json!(true);
    server.ask("STREAM.UPDATE.messages", &config);
    hand_on(&lines(&["m6"]), &[("NATS_URL", &url)]).with(75, "1 of 1 messages were not acknowledged");
}

#[test]
fn what_was_purged_comes_again_once_the_stream_is_made_anew() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let server = NatsServer::start();
    let url = server.url();
    let publish = || hand_on(&lines(&["m1", "m2"]), &[("NATS_URL", &url)]).with(0, "");
    publish();
    server.ask("STREAM.PURGE.messages", &json!({}));
    publish();
    assert!(server.ids("messages").is_empty(), "the page says that the window outlives a purge");
    server.ask("STREAM.DELETE.messages", &json!({}));
    publish();
    assert_eq!(server.ids("messages"), ["m1", "m2"]);
}

#[test]
fn who_may_not_look_at_the_stream_is_told_which_right_a_long_message_needs() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let rights = |more: &str| {
        format!(
            "jetstream {{ store_dir: js }}\nno_auth_user: admin\nauthorization {{ users: [{{user: admin, password: a}}, \
             {{user: follower, password: f, permissions: {{publish: [\"messages\"{more}], subscribe: [\"_INBOX.>\"]}}}}] }}"
        )
    };
    let mut server = NatsServer::with(&rights(""));
    stream(&server, &json!({"max_msg_size": 2000}));
    let long = format!(
        "{}{}\n",
        lines(&["m1"]),
        crate::fixtures::message_with("m2", &json!({"text": "x".repeat(4000)}))
    );
    let url = server.url();
    let publish = || hand_on(&long, &[("NATS_URL", &url), ("NATS_USER", "follower"), ("NATS_PASSWORD", "f")]);
    publish().with(75, "let this user publish to $JS.API.STREAM.INFO.messages");
    server.kill();
    server.configure(&rights(", \"$JS.API.STREAM.INFO.messages\""));
    server.run();
    publish().with(0, "1 messages were longer than the 2000 bytes");
    assert_eq!(server.ids("messages"), ["m1", "m2"]);
}

#[test]
fn a_server_that_cannot_take_a_batch_is_said_with_what_to_do() {
    if !has(&["nats-server", "python3", "openssl"]) {
        return;
    }
    let without = NatsServer::with("");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &without.url())]).with(78, "JetStream is off there");
    let free = crate::setup::free_port();
    let nowhere = format!("nats://127.0.0.1:{free}");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &nowhere)]).with(69, "Connection refused");
    // The first that answers takes it.
    let server = NatsServer::start();
    let both = format!("{nowhere},{}", server.url());
    for id in ["m1", "m2", "m3", "m4"] {
        hand_on(&lines(&[id]), &[("NATS_URL", &both)]).with(0, "");
    }
    assert_eq!(server.ids("messages"), ["m1", "m2", "m3", "m4"]);
    // What can never be taken.
    hand_on("{\"message_id\":\"\"}\n", &[("NATS_URL", &server.url())]).with(65, "line 1 is no message");
    hand_on(&format!("{}[]\n", lines(&["m5"])), &[("NATS_URL", &server.url())])
        .with(65, "line 2 is no message");
    assert_eq!(server.ids("messages").len(), 4, "no message of such a batch is published");
    hand_on("", &[("NATS_URL", &nowhere)]).with(0, "");
    for (name, value) in [
        ("NATS_URL", "https://127.0.0.1"),
        ("NATS_URL", "nats://127.0.0.1:x"),
        ("NATS_STREAM", "a.b"),
        ("NATS_SUBJECT", "a.*"),
        ("NATS_WINDOW", "0"),
        ("NATS_TIMEOUT", "1.5"),
        ("RECEIVER", "a\nb"),
    ] {
        hand_on(&lines(&["m1"]), &[(name, value)]).with(78, name);
    }
    let nats = [("NATS_URL", server.url())].map(|(name, url)| (name, url.replace("nats://", "tls://")));
    hand_on(&lines(&["m1"]), &[(nats[0].0, &nats[0].1)]).with(69, "127.0.0.1");
}

#[test]
fn users_of_every_kind_are_known_and_others_refused_without_a_word_of_their_secret() {
    if !has(&["nats-server", "python3", "openssl"]) {
        return;
    }
    let config =
        |authorization: &str| format!("jetstream {{ store_dir: js }}\nauthorization {{ {authorization} }}");
    let mut server = NatsServer::with(&config("user: follower, password: \"p:a@ss word\""));
    let url = server.url();
    let login = [("NATS_URL", &*url), ("NATS_USER", "follower"), ("NATS_PASSWORD", "p:a@ss word")];
    hand_on(&lines(&["m1"]), &login).with(0, "");
    let inside = url.replace("nats://", "nats://follower:p%3Aa%40ss%20word@");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &inside)]).with(0, "");
    let wrong = hand_on(&lines(&["m1"]), &[("NATS_URL", &inside.replace("ss%20", "zz"))]);
    wrong.with(77, "Authorization Violation");
    assert!(!wrong.said.contains("follower") && !wrong.said.contains("zz"), "{wrong:?}");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url)]).with(77, "Authorization Violation");

    server.kill();
    server.configure(&config("token: \"a token\""));
    server.run();
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_TOKEN", "a token")]).with(0, "");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url.replace("nats://", "nats://a%20token@"))]).with(0, "");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_TOKEN", "another")])
        .with(77, "Authorization Violation");

    // Just enough rights: to publish, to hear the answer, and not even to look at the stream.
    server.kill();
    let rights = "permissions: { publish: \"messages\", subscribe: \"_INBOX.>\" }";
    server.configure(&config(&format!("users: [ {{ user: a, password: b, {rights} }}, {{ user: c, password: d, permissions: {{ publish: \"no\" }} }} ]")));
    server.run();
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_USER", "a"), ("NATS_PASSWORD", "b")]).with(0, "");
    let barred = hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_USER", "c"), ("NATS_PASSWORD", "d")]);
    barred.with(77, "Permissions Violation");
}

#[test]
fn only_what_the_stream_has_stored_is_confirmed() {
    const ACK: &str = "{\"stream\":\"messages\",\"seq\":5,\"duplicate\":true}";
    if !has(&["python3"]) {
        return;
    }
    let batch = lines(&["m1", "m2", "m3"]);
    let hand = |answers, then| {
        hand_on(&batch, &[("NATS_URL", &nats_stub::start(answers, then)), ("NATS_TIMEOUT", "1")])
    };
    hand(&[ACK], Then::Acknowledge).with(0, "");
    hand(&[ACK], Then::Close).with(75, "2 of 3 messages were not acknowledged: the server has closed");
    hand(&[ACK, ACK], Then::Hang).with(75, "1 of 3 messages were not acknowledged: no answer for 1 s");
    let one = |answers, said: &str| {
        hand(answers, Then::Acknowledge).with(75, &format!("1 of 3 messages were not acknowledged: {said}"));
    };
    one(&["{\"stream\":\"messages\",\"seq\":0,\"duplicate\":true}"], "the stream has not stored it yet");
    one(&["{\"stream\":\"others\",\"seq\":5}"], "the stream 'others' answers");
    one(
        &[
            "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: 5\"},\"stream\":\"messages\",\"seq\":0}",
        ],
        "wrong last sequence: 5",
    );
    one(&["{\"error\":{\"code\":503},\"stream\":\"messages\",\"seq\":5}"], "error");
    for nothing in [&["+OK"], &["[]"], &["null"], &[""], &["{}"]] {
        one(nothing, "");
    }
}

#[test]
fn a_batch_whose_writer_was_killed_in_its_midst_is_not_published() {
    let server = NatsServer::start();
    let url = server.url();
    let whole = lines(&["m1", "m2"]);
    hand_on(&whole[..whole.len() - 9], &[("NATS_URL", &url)]).with(75, "in the middle of a line");
    hand_on(&whole, &[("NATS_URL", &url)]).with(0, "");
    assert_eq!(server.ask("STREAM.INFO.messages", &json!({}))["state"]["messages"], 2);
}
