//! HAProxy as scripts/proxies.md sets it up, in front of the receivers: without TLS, and with one receiver more.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::fixtures::eventually;
use crate::http_client::Address;
use crate::machine::HOME;
use crate::recipes::{blocks, replaced};
use crate::setup::wait;

const PORT: u16 = 8080;

pub(crate) struct Proxy {
    configuration: PathBuf,
    process: Option<Child>,
    /// From when to when it was away.
    pub(crate) away: Vec<(Instant, Instant)>,
    went: Instant,
}

impl Proxy {
    /// In front of so many of the receivers.
    pub(crate) fn new(folder: &Path, receivers: usize) -> Self {
        let configuration = folder.join(format!("haproxy-{receivers}.cfg"));
        let found = blocks("scripts/proxies.md", "haproxy");
        let recipe = found.first().expect("there is a recipe");
        // Debian's own, which take root.
        let recipe =
            replaced(recipe, "    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", "");
        let recipe =
            replaced(&recipe, "/run/haproxy/admin.sock", &folder.join("admin.sock").display().to_string());
        let recipe = replaced(
            &recipe,
            "bind :443 ssl crt /etc/haproxy/hooks.example.org.pem alpn h2,http/1.1",
            &format!("bind {HOME}:{PORT}"),
        );
        let last = "    server two 10.0.0.12:8000\n";
        let recipe = match receivers {
            1 => replaced(&recipe, last, ""),
            _ => replaced(&recipe, last, &format!("{last}    server three 10.0.0.13:8000\n")),
        };
        fs::write(&configuration, recipe).expect("the folder is ours");
        let mut proxy = Self { configuration, process: None, away: Vec::new(), went: Instant::now() };
        proxy.start();
        proxy
    }

    pub(crate) fn address() -> Address {
        Address::Tcp(format!("{HOME}:{PORT}"))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(&self.configuration).stdin(Stdio::null());
        let log =
            fs::File::options().create(true).append(true).open(self.configuration.with_extension("log"));
        let log = log.expect("the folder is ours");
        command.stderr(log.try_clone().expect("a file has descriptors")).stdout(log);
        self.process = Some(command.spawn().expect("haproxy starts"));
        eventually("haproxy listens", || TcpStream::connect(Self::address().host_and_port()).ok());
        self.away.push((self.went, Instant::now()));
    }

    pub(crate) fn kill(&mut self) {
        self.went = Instant::now();
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            wait(&mut process);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
    }
}
