//! A balancer runs a recipe of scripts/proxies.md in front of two receivers.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::fixtures::eventually;
use crate::http_client::Address;
use crate::recipes::{blocks, replaced};
use crate::setup::free_port;
use crate::tools::run;

/// Where the recipes have the receivers.
const RECEIVERS: [&str; 2] = ["10.0.0.11:8000", "10.0.0.12:8000"];

pub(crate) struct Balancer {
    pub(crate) folder: TempDir,
    /// Where it speaks TLS, as the recipe says.
    port: u16,
    /// Where a test reaches it without.
    plain: u16,
    certificate: PathBuf,
    daemon: Option<Daemon>,
    program: (String, Vec<String>),
}

impl Balancer {
    pub(crate) fn address(&self) -> Address {
        Address::Tcp(format!("127.0.0.1:{}", self.plain))
    }

    /// What curl says of a request over TLS from an address of its own: the status, last of all.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> (u16, Output) {
        let certificate = self.certificate.display().to_string();
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "-i",
            "-4",
            "--interface",
            "127.0.0.2",
            "--cacert",
            &certificate,
            "-w",
            "\n%{http_code}",
        ]);
        let url = format!("https://localhost:{}{path}", self.port);
        let output = command.args(arguments).arg(url).output().expect("curl starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = said.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0);
        (status, output)
    }

    /// Starts it, or starts it again.
    pub(crate) fn run(&mut self) {
        self.daemon = None;
        let (program, arguments) = &self.program;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut daemon = Daemon::start(program, &arguments, self.folder.path());
        daemon.until("the balancer listens", || TcpStream::connect(("127.0.0.1", self.plain)).ok());
        self.daemon = Some(daemon);
        eventually("the balancer speaks TLS", || (self.curl("/nowhere", &[]).0 != 0).then_some(()));
    }
}

/// The recipe with the addresses of a test.
fn recipe(language: &str, receivers: [u16; 2]) -> String {
    let found = blocks("scripts/proxies.md", language);
    let recipe = found.iter().find(|block| block.contains(RECEIVERS[0])).expect("there is a recipe for two");
    RECEIVERS.iter().zip(receivers).fold(recipe.clone(), |recipe, (address, port)| {
        replaced(&recipe, address, &format!("127.0.0.1:{port}"))
    })
}

/// A certificate for localhost, its key in another file.
pub(crate) fn self_signed(folder: &Path) -> [PathBuf; 2] {
    let files = ["fullchain.pem", "privkey.pem"].map(|name| folder.join(name));
    let [certificate, key] = files.each_ref().map(|path| path.display().to_string());
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let made = run("openssl", &[&new[..], &names, &["-keyout", &key, "-out", &certificate]].concat());
    assert!(made.status.success(), "{made:?}");
    files
}

pub(crate) fn haproxy(receivers: [u16; 2]) -> Balancer {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let (port, plain) = (free_port(), free_port());
    let [certificate, key] = self_signed(folder.path());
    let read = |path: &Path| std::fs::read_to_string(path).expect("openssl has made it");
    let both = folder.path().join("both.pem");
    std::fs::write(&both, read(&certificate) + &read(&key)).expect("the folder is ours");
    let recipe = recipe("haproxy", receivers);
    // Debian's own, which take root.
    let recipe = replaced(&recipe, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "");
    let recipe =
        replaced(&recipe, "/run/haproxy/admin.sock", &folder.path().join("admin.sock").display().to_string());
    let recipe = replaced(&recipe, "/etc/haproxy/hooks.example.org.pem", &both.display().to_string());
    let recipe =
        replaced(&recipe, "bind :443", &format!("bind 127.0.0.1:{plain}\n    bind 127.0.0.1:{port}"));
    std::fs::write(folder.path().join("haproxy.cfg"), recipe).expect("the folder is ours");
    let program = ("haproxy".to_owned(), vec!["-f".to_owned(), "haproxy.cfg".to_owned()]);
    started(Balancer { folder, port, plain, certificate, daemon: None, program })
}

/// Its files are made beside the recipe, which stands in the middle of what Debian has around it.
pub(crate) fn nginx(receivers: [u16; 2]) -> Balancer {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let (port, plain) = (free_port(), free_port());
    let [certificate, _] = self_signed(folder.path());
    let place = folder.path().display().to_string();
    let recipe = recipe("nginx", receivers);
    let recipe = replaced(&recipe, "/etc/ssl/hooks.example.org", &place);
    let recipe = replaced(&recipe, "hooks.example.org", "localhost");
    let recipe = replaced(&recipe, "    listen [::]:443 ssl;\n", "");
    let listen = format!("listen 127.0.0.1:{plain};\n    listen 127.0.0.1:{port} ssl");
    let recipe = replaced(&recipe, "listen 443 ssl", &listen);
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("{kind}_temp_path {place}/{kind};\n")).concat();
    let text = format!(
        "daemon off; worker_processes 2; pid {place}/nginx.pid;\nevents {{}}\nhttp {{ access_log off;\n{temporary}{recipe}}}\n"
    );
    std::fs::write(folder.path().join("nginx.conf"), text).expect("the folder is ours");
    let arguments = ["-e", "stderr", "-c", &format!("{place}/nginx.conf")].map(str::to_owned).to_vec();
    started(Balancer { folder, port, plain, certificate, daemon: None, program: ("nginx".into(), arguments) })
}

/// Where `scripts/operator` puts the Caddy that Debian has not.
pub(crate) fn newer_caddy() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    target.join("caddy/bin/caddy").display().to_string()
}

pub(crate) fn caddy(receivers: [u16; 2]) -> Balancer {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    let (port, plain) = (free_port(), free_port());
    let storage = folder.path().join("storage");
    let recipe = recipe("caddy", receivers);
    let addresses = format!("https://localhost:{port}, http://:{plain}");
    let recipe = replaced(&recipe, "hooks.example.org {", &format!("{addresses} {{"));
    let globals = "admin off\nauto_https disable_redirects\nlocal_certs\nskip_install_trust";
    let globals = format!("{{\n{globals}\nstorage file_system {}\n\tservers {{", storage.display());
    let text = replaced(&recipe, "{\n\tservers {", &globals);
    std::fs::write(folder.path().join("Caddyfile"), text).expect("the folder is ours");
    let certificate = storage.join("pki/authorities/local/root.crt");
    let arguments = ["run", "--config", "Caddyfile", "--adapter", "caddyfile"].map(str::to_owned).to_vec();
    started(Balancer { folder, port, plain, certificate, daemon: None, program: (newer_caddy(), arguments) })
}

fn started(mut balancer: Balancer) -> Balancer {
    balancer.run();
    balancer
}
