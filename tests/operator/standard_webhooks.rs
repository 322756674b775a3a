//! What `follow` posts is verified by the libraries that receivers use: `standardwebhooks` and `svix`, of PyPI and npm.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::recipes::project_file;
use crate::scratch::program;
use crate::skip::has;

/// As standardwebhooks.com writes a secret, and one of somebody who has not read that.
const SECRETS: [(&str, &str); 2] =
    [("encoded", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("raw", "correct horse battery staple")];
/// Ids that a header carries as they are, and ids that none can.
const IDS: [&str; 5] = ["m1", "wamid.HBgL=", "a%20b", "a b", "é\r\nX-Other: 1"];

/// Where `scripts/bootstrap.sh` puts the libraries.
pub(crate) fn library(path: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    target.join("webhook-libraries").join(path)
}

/// The interpreter of one of the two languages, with a script of ours and with the libraries.
pub(crate) fn interpreter(language: &str, script: &str) -> Command {
    let (program, variable, folder, ending) = match language {
        "python" => ("python3", "PYTHONPATH", "python", "py"),
        _ => ("node", "NODE_PATH", "node_modules", "js"),
    };
    let mut command = Command::new(program);
    command.env(variable, library(folder)).arg(project_file(&format!("tests/operator/{script}.{ending}")));
    command
}

/// A receiver in one of the two languages, at work.
struct Receiver {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    port: String,
}

impl Receiver {
    fn start(language: &str, form: &str, secret: &str) -> Self {
        let mut child = interpreter(language, "receiver")
            .args([form, secret])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter is there");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let port = stdout.next().expect("it says its port").expect("in UTF-8");
        Self { child, stdout, port }
    }

    /// What it has seen of one request.
    fn seen(&mut self) -> Value {
        let line = self.stdout.next().expect("it has seen a request").expect("in UTF-8");
        serde_json::from_str(&line).expect("a line is JSON")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Posts the messages of a file, so many at a time, once.
fn post(file: &Path, batch: &str, port: &str, secret: &str) -> Output {
    Command::new(program())
        .args(["follow", "--attempts", "1", "--batch", batch, "--from-file"])
        .arg(file)
        .args(["--post", &format!("http://127.0.0.1:{port}/hook?x=1")])
        .env("FORWARD_SECRET", secret)
        .output()
        .expect("the executable starts")
}

fn verified_by(language: &str, libraries: [&str; 2]) {
    let libraries = libraries.map(|name| library(name).display().to_string());
    if !has(&[&libraries[0], &libraries[1]]) {
        return;
    }
    let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
    let file = folder.path().join("messages");
    let lines = IDS.map(|id| {
        let message =
            json!({"message_id": id, "text": "Olá 😀\u{0}\n", "cursor": format!("cursor-{}", id.len())});
        format!("{message}\n")
    });
    fs::write(&file, lines.concat()).expect("the folder is ours");
    for (form, secret) in SECRETS {
        let mut receiver = Receiver::start(language, form, secret);
        let posted = post(&file, "1", &receiver.port, secret);
        assert_eq!(posted.status.code(), Some(0), "{}", String::from_utf8_lossy(&posted.stderr));
        for (id, line) in IDS.iter().zip(&lines) {
            let seen = receiver.seen();
            assert_eq!((&seen["wrong"], &seen["path"]), (&Value::Null, &json!("/hook?x=1")), "{seen}");
            assert_eq!(seen["headers"]["content-type"], "application/json");
            assert_eq!(seen["body"], line.trim_end());
            let said = seen["headers"]["webhook-id"].as_str().expect("it is there");
            let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic());
            assert!(if is_plain { said == *id } else { said.starts_with("sha256-") }, "{id:?}: {said}");
            assert_eq!(seen["headers"]["x-other"], Value::Null);
        }
        let posted = post(&file, "100", &receiver.port, secret);
        assert_eq!(posted.status.code(), Some(0), "{}", String::from_utf8_lossy(&posted.stderr));
        let seen = receiver.seen();
        assert_eq!(seen["wrong"], Value::Null, "{seen}");
        assert_eq!(seen["headers"]["content-type"], "application/x-ndjson");
        assert_eq!(seen["headers"]["webhook-id"], format!("cursor-{}", IDS[4].len()));
        assert_eq!(seen["body"], lines.concat());
        // With any other key it is nobody's.
        let posted = post(&file, "1", &receiver.port, "whsec_AAAA");
        assert_eq!(posted.status.code(), Some(75), "{}", String::from_utf8_lossy(&posted.stderr));
        assert_ne!(receiver.seen()["wrong"], Value::Null);
    }
}

#[test]
fn the_libraries_of_pypi_verify_what_is_posted() {
    verified_by("python", ["python/standardwebhooks/__init__.py", "python/svix/__init__.py"]);
}

#[test]
fn the_libraries_of_npm_verify_what_is_posted() {
    verified_by("node", ["node_modules/standardwebhooks/package.json", "node_modules/svix/package.json"]);
}
