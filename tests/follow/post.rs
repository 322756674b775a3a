//! A program takes batches over HTTP, and says by the status of its answer what becomes of them.

use std::thread;

use serde_json::{Value, json};

use crate::fake_feed::FakeFeed;
use crate::fixtures::{eventually, sign};
use crate::follower::{follow, setup};
use crate::program::{OK, Post, Program, Reaction};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A feed with so many messages, and a program that reacts like this.
fn between(count: usize, reactions: &[Reaction]) -> (FakeFeed, Program) {
    let feed = FakeFeed::start();
    feed.store(count);
    (feed, Program::start(reactions))
}

#[track_caller]
fn posted(program: &Program, count: usize) -> Vec<Post> {
    eventually(&format!("{count} requests"), || (program.posts().len() >= count).then_some(()));
    let posts = program.posts();
    assert_eq!(posts.len(), count, "{posts:?}");
    posts
}

fn id(post: &Post) -> &str {
    post.header("webhook-id").expect("every request has one")
}

#[test]
fn one_message_is_posted_as_json_and_a_batch_as_lines() {
    let (feed, program) = between(3, &[]);
    let follower =
        setup().with("FORWARD_SECRET", SECRET).follow(&feed, &["--batch", "2", "--post", &program.url()]);
    let posts = posted(&program, 2);
    let [batch, message] = [&posts[0], &posts[1]];
    for post in [batch, message] {
        assert!(post.head.starts_with("POST /hook?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", post.head);
        assert!(post.header("User-Agent").is_some_and(|agent| agent.starts_with("lyftr-webhook/")));
        assert_eq!(post.header("X-Signature"), Some(&*sign(SECRET, post.body.as_bytes())));
        assert!(post.header("webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
        assert!(post.header("webhook-timestamp").is_some_and(|time| time.parse::<u64>().is_ok()));
    }
    assert_eq!(batch.header("Content-Type"), Some("application/x-ndjson"));
    assert_eq!(message.header("Content-Type"), Some("application/json"));
    let lines: Vec<Value> =
        batch.body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(lines.iter().map(|line| &line["message_id"]).collect::<Vec<_>>(), ["m1", "m2"]);
    assert!(batch.body.ends_with("}\n") && message.body.ends_with('}'));
    assert_eq!((id(batch), id(message)), (lines[1]["cursor"].as_str().expect("it has one"), "m3"));
    assert_eq!(program.connections(), 1, "one is kept");
    follower.stop();
}

#[test]
fn without_a_secret_the_id_is_there_and_no_signature() {
    let (feed, program) = between(1, &[]);
    let follower = follow(&feed, &["--post", &program.url()]);
    let post = &posted(&program, 1)[0];
    assert_eq!(id(post), "m1");
    assert!(post.header("webhook-timestamp").is_some());
    assert_eq!((post.header("X-Signature"), post.header("webhook-signature")), (None, None));
    follower.stop();
}

#[test]
fn a_program_at_a_unix_socket_is_posted_to() {
    let feed = FakeFeed::start();
    feed.store(2);
    let setup = setup();
    let path = setup.path("program.sock");
    let program = Program::at(&path);
    let follower = setup.follow(&feed, &["--post", &format!("unix:{}:/hook", path.display())]);
    let posts = posted(&program, 2);
    assert!(posts[1].head.starts_with("POST /hook HTTP/1.1\r\nHost: localhost\r\n"), "{}", posts[1].head);
    follower.stop();
}

#[test]
fn every_success_confirms_whatever_its_body_is_worth() {
    let reactions = [
        Reaction::Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Reaction::Send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        Reaction::Send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
        // HTTP/1.0, as http.server of Python speaks it.
        Reaction::SendAndClose("HTTP/1.0 200 OK\r\n\r\nok"),
        // Cut off, and too long for anybody.
        Reaction::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"),
        Reaction::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nok"),
    ];
    let (feed, program) = between(reactions.len() + 1, &reactions);
    let follower = follow(&feed, &["--post", &program.url()]);
    let posts = posted(&program, reactions.len() + 1);
    assert_eq!(posts.iter().map(id).collect::<Vec<_>>(), ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]);
    assert_eq!(follower.stderr.so_far(), "");
    follower.stop();
}

/// What a batch that met this once is tried again for; it is confirmed then, and nothing has overtaken it.
#[track_caller]
fn reason_after(reaction: Reaction, more: &[&str]) -> Value {
    let (feed, program) = between(2, &[reaction]);
    let url = program.url();
    let follower = follow(&feed, &[more, &["--post", &url]].concat());
    let posts = posted(&program, 3);
    assert_eq!(posts.iter().map(id).collect::<Vec<_>>(), ["m1", "m1", "m2"]);
    assert_eq!(posts[0].body, posts[1].body);
    assert_eq!(follower.tells("recovered")["attempts"], 2);
    let told = follower.tells("not_confirmed");
    assert_eq!(told["message_id"], "m1");
    follower.stop();
    told
}

#[test]
fn what_is_no_success_is_tried_again_before_anything_else() {
    let cases = [
        (Reaction::Send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "500"),
        (Reaction::Send("HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n"), "422"),
        (
            Reaction::Send("HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
            "points to /elsewhere",
        ),
        (Reaction::Send("HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n"), "FORWARD_SECRET"),
        (Reaction::Reset, "closed before"),
        (Reaction::SendAndClose(""), "closed before"),
        (Reaction::SendAndClose("HTTP/1.1 200 OK\r\nContent-Le"), "closed before"),
        (Reaction::SendAndClose("SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP/1"),
        (Reaction::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"), "Content-Length"),
        (Reaction::Repeat("HTTP/1.1 100 Continue\r\n\r\n"), "interim"),
        (Reaction::SendAndClose("\u{15}\u{3}\u{1}\0\u{2}\u{2}F"), "TLS"),
    ];
    // Each waits for a second before its second attempt.
    thread::scope(|scope| {
        for (reaction, said) in cases {
            scope.spawn(move || {
                let told = reason_after(reaction, &[]);
                let reason = told["reason"].as_str().expect("a reason is text");
                assert!(reason.contains(said), "{reaction:?}: {reason}");
            });
        }
    });
}

#[test]
fn a_head_without_an_end_and_silence_are_given_up() {
    let endless = Reaction::Repeat("A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    assert!(reason_after(endless, &[])["reason"].to_string().contains("not HTTP/1"));
    let told = reason_after(Reaction::Hang, &["--timeout", "1"]);
    assert!(told["reason"].to_string().contains("in time"), "{told}");
}

#[test]
fn who_asks_for_a_time_is_left_alone_for_it() {
    let told = reason_after(
        Reaction::Send("HTTP/1.1 429 Slowly\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"),
        &[],
    );
    let wait = told["retry_in_seconds"].as_f64().expect("a wait is a number");
    assert!((2.0..=2.4).contains(&wait), "{told}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_nobody_an_attempt() {
    let closing = Reaction::SendAndClose("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (feed, program) = between(20, &[closing; 10]);
    let follower = follow(&feed, &["--post", &program.url()]);
    posted(&program, 20);
    assert_eq!(follower.stderr.so_far(), "");
    follower.stop();
}

#[test]
fn gone_ends_it_and_the_message_is_the_next_again() {
    let gone = Reaction::Send("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    let (feed, program) = between(2, &[OK, gone]);
    let url = program.url();
    let setup = follow(&feed, &["--post", &url]).ends(69, &["410", "no more messages", "--post"]);
    let follower = setup.follow(&feed, &["--post", &url]);
    let posts = posted(&program, 3);
    assert_eq!(posts.iter().map(id).collect::<Vec<_>>(), ["m1", "m2", "m2"]);
    follower.stop();
}

#[test]
fn a_stop_lets_what_is_under_way_be_confirmed() {
    let (feed, program) = between(1, &[Reaction::Hang]);
    let follower = follow(&feed, &["--timeout", "1", "--post", &program.url()]);
    posted(&program, 1);
    let setup = follower.stop();
    let follower = setup.follow(&feed, &["--post", &program.url()]);
    assert_eq!(posted(&program, 2).iter().map(id).collect::<Vec<_>>(), ["m1", "m1"]);
    follower.stop();
}

#[test]
fn what_cannot_be_posted_to_or_signed_with_is_refused_at_the_start() {
    for (url, said) in [
        ("https://example.org/hook", "TLS is not spoken here"),
        ("example.org/hook", "http://HOST"),
        ("http://user:word@example.org", "a password"),
        ("unix:relative.sock", "absolute"),
    ] {
        let finished = setup().run(&["follow", "--post", url]);
        assert_eq!(finished.code, Some(64), "{finished:?}");
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
    let refused = |secret: &str| {
        let mut setup = setup().with("FORWARD_SECRET", secret);
        let finished = setup.run(&["follow", "--url", "http://127.0.0.1:1", "--post", "http://127.0.0.1:1"]);
        assert_eq!(finished.code, Some(78), "{finished:?}");
        assert!(finished.stderr.contains("FORWARD_SECRET"), "{finished:?}");
        assert!(!finished.stderr.contains("b64!"), "a secret is not shown: {finished:?}");
    };
    refused("whsec_b64!");
    refused("whsec_");
}

#[test]
fn an_id_that_no_header_can_carry_is_hashed_and_smuggles_nothing() {
    let program = Program::start(&[]);
    let mut setup = setup();
    let message = json!({"message_id": "é\r\nX-Other: 1", "text": null});
    let file = setup.file("letters", format!("{message}\n"));
    let finished = setup.run(&["follow", "--from-file", &file, "--post", &program.url()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let post = &posted(&program, 1)[0];
    assert!(id(post).starts_with("sha256-") && post.header("X-Other").is_none(), "{}", post.head);
    assert_eq!(post.body, message.to_string());
}
