//! What scripts/nats.md tells an operator to type: NATS as it is set up there, three servers for one, and Redis.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::fixtures::{eventually, message};
use crate::nats_server::NatsServer;
use crate::recipes::{blocks, project_file, replaced};
use crate::service::Service;
use crate::setup::free_port;
use crate::skip::has;
use crate::to_nats::Follower;
use crate::to_nats_refusals::lines;
use crate::tools::run;

fn block(language: &str) -> String {
    let found = blocks("scripts/nats.md", language);
    assert_eq!(found.len(), 1, "one block in {language}");
    found[0].clone()
}

/// Waits until the stream has all of these, in this order and once each.
#[track_caller]
fn has_all(server: &NatsServer, service: &Service, count: usize) {
    let page = service.get("/feed?limit=1000").expect(200).json();
    let rows = page["data"].as_array().expect("a page has rows");
    let expected: Vec<_> =
        rows.iter().map(|row| row["message_id"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!((expected.len(), &server.ids("messages")), (count, &expected));
}

#[test]
fn nats_as_the_page_sets_it_up_takes_messages_from_its_follower() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let recipe = replaced(&block("nats"), "host: 0.0.0.0\nport: 4222\n", "");
    let server = NatsServer::with(&replaced(&recipe, "/var/lib/nats", "js"));
    let settings = replaced(&block("ini"), "nats://10.0.0.21:4222", &server.url());
    let script = project_file("scripts/to-nats").display().to_string();
    let settings = replaced(&settings, "/usr/share/lyftr-webhook/to-nats", &script);
    let service = Service::start();
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    // As systemd starts it: what FOLLOW holds is split at its blanks.
    let variables: Vec<_> = settings.lines().filter_map(|line| line.split_once('=')).collect();
    let follow = variables.iter().find(|(name, _)| *name == "FOLLOW").expect("it says how").1;
    let url = format!("http://{}", service.address.host_and_port());
    let arguments = ["follow", "--url", &url].into_iter().chain(follow.split(' '));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lyftr-webhook"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("the executable starts");
    service.store(&message("m1"));
    eventually("it is confirmed", || {
        let metrics = service.get("/metrics").expect(200).text();
        metrics.lines().any(|line| line == "feed_lag_messages{consumer=\"follow\"} 0").then_some(())
    });
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn of_three_servers_any_may_be_killed_and_each_message_is_in_the_stream_once() {
    if !has(&["nats-server", "python3"]) {
        return;
    }
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
    let mut number = 0;
    let mut servers = ports.map(|port| {
        number += 1;
        let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
        NatsServer::with(&format!("server_name: n{number}\njetstream {{ store_dir: js }}\n{cluster}"))
    });
    let service = Service::start();
    let url = servers.each_ref().map(NatsServer::url).join(",");
    let variables = [("NATS_URL", &*url), ("NATS_REPLICAS", "3"), ("NATS_TIMEOUT", "2")];
    let follower = Follower::start(&service, &servers[0], &variables, &[]);
    service.store(&message("first"));
    follower.fills(&servers[0], 1);
    assert_eq!(servers[0].stream("messages")["config"]["num_replicas"], 3);
    let mut count = 1;
    // One of them leads when its turn comes.
    for round in 0..3 {
        let post = |from: usize, to: usize| {
            for number in from..to {
                service.store(&message(&format!("round {round} message {number}")));
            }
        };
        post(0, 60);
        servers[round % 3].kill();
        post(60, 100);
        count += 100;
        follower.fills(&servers[(round + 1) % 3], count);
        servers[round % 3].run();
        // A cluster outlives one at a time.
        eventually("it has caught up", || {
            let stream = servers[round % 3].ask("STREAM.INFO.messages", &json!({}));
            let others = stream["cluster"]["replicas"].as_array()?;
            let current = others.iter().filter(|other| other["current"] == true).count();
            (current == 2).then_some(())
        });
    }
    has_all(&servers[0], &service, count);
}

#[test]
fn redis_has_each_message_once_and_what_it_refuses_is_not_confirmed() {
    if !has(&["redis-server", "redis-cli"]) {
        return;
    }
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let port = free_port().to_string();
    let start = || {
        let options =
            ["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
        let mut daemon = Daemon::start("redis-server", &options, folder.path());
        daemon.until("redis answers", || {
            let answer = run("redis-cli", &["-p", &port, "PING"]);
            answer.stdout.starts_with(b"PONG").then_some(())
        });
        daemon
    };
    let script = folder.path().join("to-redis");
    fs::write(&script, replaced(&block("redis"), "redis-cli", &format!("redis-cli -p {port}")))
        .expect("the folder is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    let hand_on = |ids: &[&str]| {
        let file = folder.path().join("batch");
        fs::write(&file, lines(ids)).expect("the folder is ours");
        let shell = format!("{} <{}", script.display(), file.display());
        run("sh", &["-c", &shell]).status.success()
    };
    let asked = |arguments: &[&str]| {
        String::from_utf8_lossy(&run("redis-cli", &[&["-p", &port], arguments].concat()).stdout)
            .trim()
            .to_owned()
    };
    let daemon = start();
    assert!(hand_on(&["m1", "m2", "m 3\u{1f600}"]) && hand_on(&["m2", "m4"]));
    assert_eq!(asked(&["XLEN", "messages"]), "4");
    assert!(asked(&["XRANGE", "messages", "-", "+"]).contains(&message("m4").to_string()));
    // What Redis's parser of JSON does not take, and ids that look like other things.
    let odd = folder.path().join("odd");
    let deep = format!("{}{}", "[".repeat(1500), "]".repeat(1500));
    let odd_lines = [
        r#"{"message_id":"o1","original":{"a":"\ud800","message_id":"o2"},"cursor":"c"}"#.to_owned(),
        format!(r#"{{"message_id":"o2","original":{deep},"cursor":"c"}}"#),
        r#"{"message_id":"o\\","text":"\"message_id\":\"o1\""}"#.to_owned(),
        r#"{"message_id":"o\"","text":"\\"}"#.to_owned(),
    ];
    fs::write(&odd, odd_lines.join("\n") + "\n").expect("the folder is ours");
    let shell = format!("{} <{}", script.display(), odd.display());
    for _ in 0..2 {
        let done = run("sh", &["-c", &shell]);
        assert!(done.status.success(), "{done:?}");
        assert_eq!(asked(&["XLEN", "messages"]), "8");
    }
    assert!(odd_lines.iter().all(|line| asked(&["XRANGE", "messages", "-", "+"]).contains(line)));
    // Another program has taken the name: nothing is marked as known that is not in the stream.
    asked(&["RENAME", "messages", "kept"]);
    asked(&["SET", "messages", "other"]);
    assert!(!hand_on(&["m5"]));
    asked(&["RENAME", "kept", "messages"]);
    assert!(hand_on(&["m5"]));
    assert_eq!(asked(&["XLEN", "messages"]), "9");
    asked(&["CONFIG", "SET", "requirepass", "x"]);
    assert!(!hand_on(&["m6"]));
    // As `kill -9` does.
    drop(daemon);
    assert!(!hand_on(&["m6"]));
    let _daemon = start();
    assert!(hand_on(&["m1", "m5", "m6"]));
    assert_eq!(asked(&["XLEN", "messages"]), "10");
}
