//! What `follow` makes of the answers of programs that people run: nginx, and Python's own server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::eventually;
use crate::scratch::program;
use crate::setup::free_port;
use crate::skip::has;

/// A program at work, which ends with the test.
struct Target {
    child: Child,
    url: String,
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// nginx, which answers with the status that the path names, and closes for none.
fn nginx(folder: &Path) -> Target {
    let port = free_port();
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};"))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
         events {{ }}
         http {{
           access_log off; {temporary}
           server {{
             listen 127.0.0.1:{port};
             listen unix:{folder}/nginx.sock;
             location = /200 {{ return 200 ok; }}
             location = /204 {{ return 204; }}
             location = /301 {{ return 301 /200; }}
             location = /410 {{ return 410; }}
             location = /413 {{ client_max_body_size 1; proxy_pass http://127.0.0.1:1; }}
             location = /429 {{ add_header Retry-After 7 always; return 429; }}
             location = /502 {{ proxy_pass http://127.0.0.1:1; }}
             location = /503 {{ return 503; }}
             location = /reset {{ return 444; }}
           }}
         }}"
    );
    let file = format!("{folder}/nginx.conf");
    fs::write(&file, configuration).expect("the folder is ours");
    let child = Command::new("nginx")
        .args(["-c", &file, "-p", &folder.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    eventually("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    Target { child, url: format!("http://127.0.0.1:{port}") }
}

/// Python's own server, which speaks this version, and hangs or breaks off where the path says so.
fn python(version: &str) -> Target {
    let script = r#"
import http.server, sys, time
class Program(http.server.BaseHTTPRequestHandler):
    protocol_version = sys.argv[1]
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/hang":
            time.sleep(3600)
        elif self.path == "/broken":
            self.wfile.write(b"HTTP/1.1 200 O")
            self.close_connection = True
        else:
            self.send_response(int(self.path[1:]))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Program)
print(server.server_port, flush=True)
server.serve_forever()
"#;
    let mut child = Command::new("python3")
        .args(["-c", script, version])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut port = String::new();
    let stdout = child.stdout.take().expect("stdout is a pipe");
    BufReader::new(stdout).read_line(&mut port).expect("it says its port");
    Target { child, url: format!("http://127.0.0.1:{}", port.trim()) }
}

/// Three messages, each posted once.
fn post(folder: &TempDir, url: &str) -> Output {
    let file = folder.path().join("messages");
    let line = |id: &str| format!("{}\n", json!({"message_id": id, "text": "Hello"}));
    fs::write(&file, ["m1", "m2", "m3"].map(line).concat()).expect("the folder is ours");
    Command::new(program())
        .args(["follow", "--attempts", "1", "--timeout", "2", "--from-file"])
        .arg(&file)
        .args(["--post", url])
        .output()
        .expect("the executable starts")
}

#[track_caller]
fn ends(folder: &TempDir, url: &str, code: i32, said: &str) {
    let finished = post(folder, url);
    let text = String::from_utf8_lossy(&finished.stderr);
    assert_eq!(finished.status.code(), Some(code), "{url}: {text}");
    assert!(text.contains(said), "{url}: {text}");
}

#[test]
fn every_answer_of_nginx_is_understood() {
    if !has(&["nginx"]) {
        return;
    }
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let target = nginx(folder.path());
    for (path, code, said) in [
        ("/200", 0, "3 messages handed on"),
        ("/204", 0, "3 messages handed on"),
        ("/301", 75, "points to"),
        ("/404", 75, "404"),
        ("/410", 69, "410"),
        ("/413", 75, "413"),
        ("/429", 75, "429"),
        ("/502", 75, "502"),
        ("/503", 75, "503"),
        ("/reset", 75, "closed before"),
    ] {
        ends(&folder, &format!("{}{path}", target.url), code, said);
    }
    ends(&folder, &format!("unix:{}/nginx.sock:/204", folder.path().display()), 0, "3 messages handed on");
}

#[test]
fn every_answer_of_pythons_server_is_understood() {
    if !has(&["python3"]) {
        return;
    }
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let target = python(version);
        for (path, code, said) in [
            ("/200", 0, "3 messages handed on"),
            ("/410", 69, "410"),
            ("/429", 75, "429"),
            ("/503", 75, "503"),
            ("/hang", 75, "in time"),
            ("/broken", 75, "closed before"),
        ] {
            ends(&folder, &format!("{}{path}", target.url), code, said);
        }
    }
    // By name, and where nobody listens.
    let target = python("HTTP/1.1");
    ends(
        &folder,
        &format!("{}/200", target.url.replace("127.0.0.1", "localhost")),
        0,
        "3 messages handed on",
    );
    ends(&folder, &format!("http://127.0.0.1:{}/200", free_port()), 75, "nobody listens there");
}
