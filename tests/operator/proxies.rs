//! Caddy and nginx in front of the service, as scripts/proxies.md sets them up: TLS, the bound on bodies, the
//! Unix socket, and whom the log names as the client.

use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::fixtures::{SECRET, eventually, message, sign};
use crate::recipes::{blocks, replaced};
use crate::service::Service;
use crate::setup::{Setup, free_port};
use crate::skip::has;
use crate::tools::run;

/// Where the recipes reach the service.
const SOCKET: &str = "/run/lyftr-webhook/http.sock";
/// Whom the recipes speak for.
const HOST: &str = "hooks.example.org";
/// Where the sender calls from, so that its address is not the proxy's.
const SENDER: &str = "127.0.0.2";

/// A proxy that runs a recipe.
struct Proxy {
    folder: TempDir,
    port: u16,
    /// Where Prometheus is let in.
    inside: u16,
    certificate: PathBuf,
    daemon: Daemon,
}

impl Proxy {
    /// What curl says of a POST to `path` with these arguments more: the status, last of all.
    fn curl(&self, path: &str, arguments: &[&str]) -> (u16, Output) {
        self.curl_at(&format!("https://localhost:{}{path}", self.port), arguments)
    }

    fn curl_at(&self, url: &str, arguments: &[&str]) -> (u16, Output) {
        let certificate = self.certificate.display().to_string();
        let mut command = Command::new("curl");
        command.args(["-sS", "-4", "--interface", SENDER, "--cacert", &certificate, "-w", "\n%{http_code}"]);
        let output = command.args(arguments).arg(url).output().expect("curl starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = said.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0);
        (status, output)
    }

    #[track_caller]
    fn post(&self, body: &str, id: &str, arguments: &[&str]) -> u16 {
        let file = self.folder.path().join(format!("body-{id}"));
        std::fs::write(&file, body).expect("the folder is ours");
        let signature = format!("X-Signature: {}", sign(SECRET, body.as_bytes()));
        let (data, id) = (format!("@{}", file.display()), format!("X-Request-ID: {id}"));
        let mut all = vec!["-H", signature.as_str(), "-H", &id, "--data-binary", &data];
        all.extend(arguments);
        let (status, output) = self.curl("/webhook", &all);
        assert_ne!(status, 0, "{output:?}");
        status
    }
}

/// Where the recipes let Prometheus in.
const INSIDE: &str = "127.0.0.1:9101";

/// The recipe for this service: its host, socket and ports are the test's.
fn recipe(language: &str, service: &Service, host: &str, inside: u16) -> String {
    let blocks = blocks("scripts/proxies.md", language);
    assert_eq!(blocks.len(), 2, "one recipe in {language} for one service, and one for several");
    let socket = service.path("http.sock").display().to_string();
    let recipe = replaced(&blocks[0], INSIDE, &format!("127.0.0.1:{inside}"));
    replaced(&replaced(&recipe, SOCKET, &socket), HOST, host)
}

fn caddy(service: &Service) -> Proxy {
    let folder = TempDir::new().expect("a folder for temporary files");
    let (port, inside) = (free_port(), free_port());
    let storage = folder.path().join("storage");
    // What a test has no use for: the machine's ports 80 and 2019, and its list of authorities.
    let globals = "admin off\nauto_https disable_redirects\nlocal_certs\nskip_install_trust";
    let recipe = recipe("caddy", service, &format!("localhost:{port}"), inside);
    let globals = format!("{{\n{globals}\nstorage file_system {}\n\tservers {{", storage.display());
    let text = replaced(&recipe, "{\n\tservers {", &globals);
    std::fs::write(folder.path().join("Caddyfile"), text).expect("the folder is ours");
    let arguments = ["run", "--config", "Caddyfile", "--adapter", "caddyfile"];
    let daemon = Daemon::start("caddy", &arguments, folder.path());
    let certificate = storage.join("pki/authorities/local/root.crt");
    answering(Proxy { folder, port, inside, certificate, daemon })
}

fn nginx(service: &Service) -> Proxy {
    let folder = TempDir::new().expect("a folder for temporary files");
    let (port, inside) = (free_port(), free_port());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (path("fullchain.pem"), path("privkey.pem"));
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let files = ["-keyout", key.as_str(), "-out", &certificate];
    let made = run("openssl", &[&new[..], &names, &files].concat());
    assert!(made.status.success(), "{made:?}");

    let recipe = recipe("nginx", service, "localhost", inside);
    let recipe = replaced(&recipe, "listen 443", &format!("listen {port}"));
    let recipe = if TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() {
        replaced(&recipe, "[::]:443", &format!("[::]:{port}"))
    } else {
        replaced(&recipe, "listen [::]:443 ssl;", "")
    };
    let recipe = replaced(&recipe, "/etc/ssl/localhost", &folder.path().display().to_string());
    // What stands around it in /etc/nginx/nginx.conf, with every path in our folder.
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("{kind}_temp_path {};\n", path(kind))).concat();
    let text = format!(
        "daemon off; master_process off; pid {};\nevents {{}}\nhttp {{ access_log off;\n{temporary}{recipe}}}\n",
        path("nginx.pid")
    );
    std::fs::write(path("nginx.conf"), text).expect("the folder is ours");
    let daemon = Daemon::start("nginx", &["-e", "stderr", "-c", &path("nginx.conf")], folder.path());
    answering(Proxy { port, inside, certificate: certificate.into(), folder, daemon })
}

fn answering(mut proxy: Proxy) -> Proxy {
    let port = proxy.port;
    proxy.daemon.until("the proxy listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    let mut failed = None;
    // Caddy makes its certificate after that.
    eventually("the proxy speaks TLS", || {
        let (status, output) = proxy.curl("/nowhere", &[]);
        failed = Some(output);
        (status != 0).then_some(())
    });
    proxy
}

fn service_behind(proxies: Option<&str>) -> Service {
    let setup = Setup::new();
    let socket = format!("unix:{}", setup.path("http.sock").display());
    let setup = setup.with("LISTEN_ADDR", &socket);
    let setup = setup.with("WHATSAPP_APP_SECRET", "secret").with("WHATSAPP_VERIFY_TOKEN", "token");
    proxies.iter().fold(setup, |setup, proxies| setup.with("TRUSTED_PROXIES", proxies)).start()
}

#[track_caller]
fn line_of(service: &Service, id: &str) -> Value {
    eventually(&format!("{id} is in the log"), || {
        service.stdout.json().into_iter().find(|line| line["request_id"] == id)
    })
}

/// What a recipe has to do, whatever program follows it.
fn carries_messages(start: fn(&Service) -> Proxy) {
    let service = service_behind(Some("unix"));
    let proxy = start(&service);
    let body = message("m1").to_string();
    let forged = ["-H", "X-Forwarded-For: 203.0.113.66"];
    assert_eq!(proxy.post(&body, "plain", &[]), 200);
    assert_eq!(line_of(&service, "plain")["result"], "created");
    assert_eq!(proxy.post(&body, "forged", &forged), 200);
    assert_eq!(proxy.post(&body, "chunked", &["-H", "Transfer-Encoding: chunked"]), 200);
    for id in ["plain", "forged", "chunked"] {
        let line = line_of(&service, id);
        assert_eq!(line["client"], SENDER, "{line}");
        assert_eq!(line["message_id"], "m1", "{line}");
    }
    // The bound is the service's own, to the byte.
    let padded = |length: usize| format!("{body}{}", " ".repeat(length - body.len()));
    assert_eq!(proxy.post(&padded(65_536), "largest", &[]), 200);
    // Not over HTTP/2: a stream that is reset before the whole body was sent is an error to this curl, though
    // the answer has come.
    assert_eq!(proxy.post(&padded(65_537), "larger", &["--http1.1"]), 413);
    let streamed = ["--http1.1", "-H", "Transfer-Encoding: chunked"];
    assert_eq!(proxy.post(&padded(200_000), "streamed", &streamed), 413);
    // What WhatsApp sends has a bound of its own, the service's as well: a body within it that is not signed is 401.
    let meta = |length: usize| {
        let file = proxy.folder.path().join("body-of-meta");
        std::fs::write(&file, " ".repeat(length)).expect("the folder is ours");
        proxy.curl("/whatsapp", &["--http1.1", "--data-binary", &format!("@{}", file.display())]).0
    };
    assert_eq!(meta(4 << 20), 401);
    // Refused while it is still being sent, so that curl does not always come to read the 413.
    let over = meta((4 << 20) + 1);
    assert!([0, 100, 413].contains(&over), "{over}");
    let asked = "/whatsapp?hub.mode=subscribe&hub.verify_token=token&hub.challenge=1158201444";
    let (status, output) = proxy.curl(asked, &[]);
    assert_eq!((status, output.stdout.as_slice()), (200, &b"1158201444\n200"[..]));
    // A host that it does not have: whatever becomes of it, nobody is told that it was taken.
    let (status, output) = proxy.curl("/webhook", &["--http1.1", "-H", "Host: other.example", "-d", "{}"]);
    assert!((400..600).contains(&status), "{output:?}");
    // Nothing else is to be seen from outside.
    for path in ["/messages", "/stats", "/metrics", "/health/ready", "/"] {
        assert_eq!(proxy.curl(path, &[]).0, 404, "{path}");
    }
    let paths: Vec<_> = service.stdout.json().into_iter().map(|line| line["path"].clone()).collect();
    assert!(!paths.iter().any(|path| path == "/messages" || path == "/metrics"), "{paths:?}");

    let metrics = format!("http://127.0.0.1:{}/metrics", proxy.inside);
    let (status, output) = proxy.curl_at(&metrics, &["--interface", "127.0.0.1"]);
    assert!(status == 200 && String::from_utf8_lossy(&output.stdout).contains("build_info"), "{output:?}");

    // Without the setting the proxy is all that is known, and whatever it says is ignored.
    for proxies in [None, Some("127.0.0.0/8")] {
        let service = service_behind(proxies);
        let proxy = start(&service);
        assert_eq!(proxy.post(&body, "untrusted", &forged), 200);
        assert_eq!(line_of(&service, "untrusted")["client"], "unix");
    }
}

#[test]
fn caddy_carries_messages_and_the_log_knows_whose() {
    if has(&["caddy", "curl"]) {
        carries_messages(caddy);
    }
}

#[test]
fn nginx_carries_messages_and_the_log_knows_whose() {
    if has(&["nginx", "curl", "openssl"]) {
        carries_messages(nginx);
    }
}
