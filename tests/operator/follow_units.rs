//! Followers as scripts/postgres.md and scripts/nats.md set them up under systemd: the file of settings is taken from
//! there as it is, read by systemd, and what it starts works with every restriction of the unit.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixtures::{eventually, message};
use crate::manager::Manager;
use crate::recipes::{blocks, replaced};
use crate::skip::has;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

/// Of the language, as the one block of it in the page.
#[track_caller]
fn block(page: &str, language: &str) -> String {
    let [block] = &blocks(page, language)[..] else { panic!("one block in {language} in {page}") };
    block.clone()
}

/// A machine with the service, to which followers find by its own settings.
fn machine() -> Option<Manager> {
    let manager = Manager::with_service()?;
    manager.does(&["sh", "-c", "echo LISTEN_ADDR=unix:/run/webhook.sock >>/etc/lyftr-webhook/environment"]);
    Some(manager)
}

/// Starts a program that is none of ours, as a unit of that name.
fn serves(manager: &Manager, name: &str, command: &str) {
    let unit = format!("[Service]\nUser=nobody\nExecStart={command}\n");
    fs::write(manager.path(&format!("/etc/systemd/system/{name}.service")), unit).expect("the root is ours");
    manager.does(&["systemctl", "daemon-reload"]);
    manager.does(&["systemctl", "start", name]);
}

/// Puts the block where the page says, and starts a follower by it. What it starts lies where `scripts/install` puts it.
fn follows(manager: &Manager, page: &str, name: &str) {
    let settings = replaced(&block(page, "ini"), "/usr/share/", "/usr/local/share/");
    let file = manager.path(&format!("/etc/lyftr-webhook/follow/{name}"));
    fs::write(&file, settings).expect("the root is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the root is ours");
    manager.does(&["systemctl", "enable", "--now", &format!("lyftr-webhook-follow@{name}")]);
}

/// Waits until the follower of that name has handed on what there is.
#[track_caller]
fn has_all(manager: &Manager, name: &str) {
    let lag = format!("feed_lag_messages{{consumer=\"{name}\"}} 0");
    eventually("the follower is at the end", || {
        manager.connect().get("/metrics").expect(200).text().lines().any(|line| line == lag).then_some(())
    });
}

fn store(manager: &Manager, count: usize) {
    for number in 0..count {
        manager.connect().post_under(&manager.secret(), &message(&format!("m{number}"))).expect(200);
    }
}

#[test]
fn the_settings_of_the_page_on_postgresql_are_those_of_a_unit_that_fills_its_table() {
    if !has(&["psql", "setpriv", POSTGRES]) {
        return;
    }
    let Some(manager) = machine() else { return };
    let script = r#"cd "$0" && mkdir /var/lib/database && chown nobody /var/lib/database &&
        setpriv --reuid=65534 --regid=65534 --clear-groups "$(dirname "$1")/initdb" -D /var/lib/database \
            --username=postgres --auth=trust --no-sync --locale=C.UTF-8 >/dev/null &&
        echo '127.0.0.1 db1.example.org db2.example.org' >>/etc/hosts"#;
    manager.does(&["sh", "-c", script, PROJECT, POSTGRES]);
    let options = "-c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp -c fsync=off";
    serves(&manager, "database", &format!("{POSTGRES} -D /var/lib/database {options}"));
    let psql =
        |command: &str| manager.run(&["env", "PGHOST=127.0.0.1", "PGUSER=postgres", "sh", "-euc", command]);
    eventually("PostgreSQL answers", || psql("psql -c 'SELECT 1'").status.success().then_some(()));
    // As the page prepares it; the password is the one of its settings.
    let prepare = replaced(&blocks("scripts/postgres.md", "sh")[0], " --pwprompt", "");
    let locked = "sed -i '1i host all webhooks all scram-sha-256' /var/lib/database/pg_hba.conf";
    let prepared = psql(&format!(
        "cd {PROJECT}\n{prepare}psql -qc \"ALTER ROLE webhooks PASSWORD '…'\"\n{locked}\npsql -qc 'SELECT pg_reload_conf()'"
    ));
    assert!(prepared.status.success(), "{prepared:?}");

    store(&manager, 3);
    follows(&manager, "scripts/postgres.md", "postgres");
    has_all(&manager, "postgres");
    let stored = psql("psql -d messages -Atc 'SELECT count(*), min(receiver) FROM messages'");
    assert_eq!(String::from_utf8_lossy(&stored.stdout), "3|one\n", "{stored:?}");
}

#[test]
fn the_settings_of_the_page_on_nats_are_those_of_a_unit_that_fills_its_stream() {
    if !has(&["nats-server", "python3", "ip"]) {
        return;
    }
    let Some(manager) = machine() else { return };
    fs::write(manager.path("/etc/nats-server.conf"), block("scripts/nats.md", "nats"))
        .expect("the root is ours");
    let script = "mkdir -p /var/lib/nats && chown nobody /var/lib/nats && ip address add 10.0.0.21/32 dev lo";
    manager.does(&["sh", "-c", script]);
    serves(&manager, "stream", "/usr/bin/env nats-server -c /etc/nats-server.conf");

    store(&manager, 3);
    follows(&manager, "scripts/nats.md", "nats");
    has_all(&manager, "nats");
    let stream = manager.path("/var/lib/nats/jetstream/$G/streams/messages");
    assert!(stream.exists(), "{}", stream.display());
}
