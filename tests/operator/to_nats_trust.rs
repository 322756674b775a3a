//! `scripts/to-nats` proves who it is by keys and tokens of NATS, and speaks TLS to whom it trusts.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::balancer::self_signed;
use crate::nats_server::NatsServer;
use crate::nkeys::{Nkey, Role};
use crate::skip::has;
use crate::to_nats_refusals::{hand_on, lines};

fn folder() -> TempDir {
    TempDir::new().expect("the machine has a folder for temporary files")
}

#[test]
fn a_seed_signs_what_the_server_asks() {
    if !has(&["nats-server", "python3", "openssl"]) {
        return;
    }
    let folder = folder();
    let [mine, other] = ["mine", "other"].map(|name| Nkey::new(folder.path(), name, Role::User));
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let mut damaged = mine.seed.clone();
    damaged.replace_range(20..21, if &mine.seed[20..21] == "A" { "B" } else { "A" });
    let files = [
        file("mine.nk", &format!("{}\n", mine.seed)),
        file("other.nk", &other.seed),
        file("damaged.nk", &damaged),
        file("none.nk", "no seed"),
    ];
    let users = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", mine.public);
    let server = NatsServer::with(&format!("jetstream {{ store_dir: js }}\n{users}"));
    let url = server.url();
    let with = |name, file: &str| hand_on(&lines(&["m1"]), &[("NATS_URL", &url), (name, file)]);
    with("NATS_NKEY", &files[0]).with(0, "");
    with("NATS_NKEY", &files[1]).with(77, "Authorization Violation");
    with("NATS_NKEY", &files[2]).with(78, "damaged");
    with("NATS_NKEY", &files[3]).with(78, "holds no seed");
    with("NATS_NKEY", "/nowhere/mine.nk").with(78, "No such file");
}

#[test]
fn credentials_of_an_account_are_a_token_and_a_seed() {
    if !has(&["nats-server", "python3", "openssl"]) {
        return;
    }
    let folder = folder();
    let key = |name, role| Nkey::new(folder.path(), name, role);
    let (operator, user) = (key("operator", Role::Operator), key("user", Role::User));
    let [account, system] = ["account", "system"].map(|name| key(name, Role::Account));
    let all = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let none = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1});
    let by_operator = |about: &Nkey, nats: serde_json::Value| operator.token(about, &json!({"nats": nats}));
    let configuration = format!(
        "jetstream {{ store_dir: js }}\noperator: \"{}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}: \"{}\"\n{}: \"{}\"\n}}",
        by_operator(&operator, json!({"type": "operator", "version": 2})),
        system.public,
        account.public,
        by_operator(&account, json!({"type": "account", "version": 2, "limits": all})),
        system.public,
        by_operator(&system, json!({"type": "account", "version": 2, "limits": none})),
    );
    let server = NatsServer::with(&configuration);
    let url = server.url();
    let credentials = |name: &str, expires: u64| {
        let nats = json!({"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2});
        let mut claims = json!({"nats": nats});
        if expires > 0 {
            claims["exp"] = json!(expires);
        }
        let token = account.token(&user, &claims);
        let path = folder.path().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed
        );
        fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let file = credentials("user.creds", 0);
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_CREDS", &file)]).with(0, "");
    // As LoadCredential= of systemd hands it out.
    credentials("nats.creds", 0);
    let handed = folder.path().display().to_string();
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("CREDENTIALS_DIRECTORY", &handed)]).with(0, "");
    let old = hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_CREDS", &credentials("old.creds", 1))]);
    old.with(77, "the server says");
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url)]).with(77, "Authorization Violation");
    let seed = folder.path().join("seed");
    fs::write(&seed, &user.seed).expect("the folder is ours");
    let seed = seed.display().to_string();
    hand_on(&lines(&["m1"]), &[("NATS_URL", &url), ("NATS_CREDS", &seed)]).with(78, "holds no NATS USER JWT");
}

#[test]
fn tls_is_spoken_to_who_is_trusted_and_to_nobody_else() {
    if !has(&["nats-server", "python3", "openssl"]) {
        return;
    }
    let folder = folder();
    let [certificate, key] = self_signed(folder.path()).map(|path| path.display().to_string());
    let files = format!("cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{certificate}\"");
    let mut server = NatsServer::within(folder, &format!("jetstream {{ store_dir: js }}\ntls {{ {files} }}"));
    let port = server.port;
    let with =
        |url: &str, more: &[(&str, &str)]| hand_on(&lines(&["m1"]), &[&[("NATS_URL", url)], more].concat());
    let [plain, tls] = ["nats", "tls"].map(|scheme| format!("{scheme}://localhost:{port}"));
    for url in [&plain, &tls] {
        with(url, &[("NATS_CA", &certificate)]).with(0, "");
        with(url, &[]).with(77, "NATS_CA names a file");
    }
    with(&plain.replace("localhost", "127.0.0.1"), &[("NATS_CA", &certificate)]).with(77, "127.0.0.1");
    with(&tls, &[("NATS_CA", "/nowhere/ca.pem")]).with(78, "cannot be used");
    server.kill();
    server.configure(&format!("jetstream {{ store_dir: js }}\ntls {{ {files}, verify: true }}"));
    server.run();
    let cert = [("NATS_CA", &*certificate), ("NATS_CERT", &*certificate), ("NATS_KEY", &*key)];
    with(&tls, &cert).with(0, "");
    assert_ne!(with(&tls, &cert[..1]).code, Some(0));
    // Whoever is told whom to trust says nothing to a server that does not prove it.
    server.kill();
    server.configure("jetstream { store_dir: js }");
    server.run();
    with(&plain, &[]).with(0, "");
    for (url, more) in [(&plain, &cert[..1]), (&tls, &cert[..0])] {
        assert_eq!(with(url, more).code, Some(69), "{url}");
    }
}
