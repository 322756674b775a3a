//! A receiver is a service with its disk and its followers, on a machine of its own.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::disk::Disk;
use crate::fault::{SINKS, Sink};
use crate::http_client::{Address, Client};
use crate::machine::Machine;
use crate::output::Lines;
use crate::service::Service;
use crate::setup::{Setup, wait};

/// Where the recipes have a receiver listen.
pub(crate) const PORT: u16 = 8000;
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
/// With these systemd does not start a follower again (`RestartPreventExitStatus=` of its unit).
const FINAL: [i32; 3] = [64, 69, 78];

/// Where the engines are.
#[derive(Clone, Debug)]
pub(crate) struct Engines {
    pub(crate) postgres: String,
    pub(crate) nats: String,
}

pub(crate) struct Receiver {
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    engines: Engines,
    life: Life,
    followers: Vec<Follower>,
}

/// A service keeps its setup while it lives, and leaves it when it dies.
enum Life {
    Up(Service),
    Down(Setup),
    /// On its way from one to the other.
    Turning,
}

struct Follower {
    sink: Sink,
    /// `None` while it is killed.
    process: Option<Child>,
    /// What it had to tell, in each of its lives.
    told: Vec<Lines>,
}

impl Receiver {
    pub(crate) fn new(number: usize, disk: Disk, engines: &Engines) -> Self {
        let machine = Machine::new(&format!("receiver-{number}"), &format!("10.0.0.{}", 11 + number));
        let url = format!("sqlite:///{}", disk.folder.join("app.db").display());
        let setup = Setup::new().with("DATABASE_URL", &url).with("LISTEN_ADDR", &format!("0.0.0.0:{PORT}"));
        let setup = setup.with("LOG_LEVEL", "ERROR").with("TRUSTED_PROXIES", crate::machine::HOME);
        let setup = setup.with("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").through_shell(machine.script());
        let setup = setup.without_stdout();
        let followers = SINKS.map(|sink| Follower { sink, process: None, told: Vec::new() }).into();
        let mut receiver =
            Self { machine, disk, engines: engines.clone(), life: Life::Down(setup), followers };
        receiver.start();
        receiver
    }

    pub(crate) fn address(&self) -> Address {
        Address::Tcp(format!("{}:{PORT}", self.machine.address))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Up(service) => Some(service.pid()),
            Life::Down(_) | Life::Turning => None,
        }
    }

    pub(crate) fn start(&mut self) {
        if let Life::Down(setup) = std::mem::replace(&mut self.life, Life::Turning) {
            let address = self.address();
            self.life = Life::Up(setup.start_at(address));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Life::Up(service) = std::mem::replace(&mut self.life, Life::Turning) {
            self.life = Life::Down(service.kill());
        }
    }

    fn follower(&mut self, sink: Sink) -> &mut Follower {
        self.followers.iter_mut().find(|follower| follower.sink == sink).expect("there is one for each")
    }

    pub(crate) fn follow(&mut self, sink: Sink) {
        let mut command = self.machine.command(env!("CARGO_BIN_EXE_lyftr-webhook"));
        let url = format!("http://127.0.0.1:{PORT}");
        let state = self.disk.folder.join(sink.name()).with_extension("state");
        command
            .args(["follow", "--url", &url, "--name", sink.name(), "--batch", "500", "--state"])
            .arg(state);
        command.arg("--exec").arg(Path::new(SCRIPTS).join(format!("to-{}", sink.name())));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("RECEIVER", &self.machine.address);
        command.env("PGHOST", &self.engines.postgres).env("PGUSER", "postgres").env("PGCONNECT_TIMEOUT", "5");
        command.env("NATS_URL", format!("nats://{}", self.engines.nats));
        command
            .current_dir(&self.disk.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the executable starts");
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        let follower = self.follower(sink);
        follower.process = Some(child);
        follower.told.push(stderr);
    }

    /// As `kill -9` does it: its command may go on.
    pub(crate) fn stop_following(&mut self, sink: Sink) {
        if let Some(mut child) = self.follower(sink).process.take() {
            drop(child.kill());
            wait(&mut child);
        }
    }

    /// What has ended by itself, which is started again as systemd would.
    pub(crate) fn revive(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        if let Life::Up(service) = &mut self.life
            && let Some(why) = service.ended()
        {
            ended.push(format!("the service of {}: {why}", self.machine.address));
            self.kill();
            self.start();
        }
        for sink in SINKS {
            let follower = self.follower(sink);
            let Some(child) = &mut follower.process else { continue };
            let Some(status) = child.try_wait().expect("a child can be waited for") else { continue };
            let said = follower.told.last().map(Lines::to_the_end).unwrap_or_default();
            let said = said.lines().last().unwrap_or_default();
            let final_one = status.code().is_some_and(|code| FINAL.contains(&code));
            assert!(!final_one, "systemd would not start it again after {status}: {said}");
            ended.push(format!(
                "the follower of {} to {}: {status}: {said}",
                self.machine.address,
                sink.name()
            ));
            self.follow(sink);
        }
        ended
    }

    /// How many messages a follower has not confirmed; `None` while that is not known.
    pub(crate) fn lag_of(&self, sink: Sink) -> Option<f64> {
        let mut client = Client::try_connect(&self.address()).ok()?;
        let metrics = client.try_request("GET", "/metrics", &[], None).ok()?.text();
        let series = format!("feed_lag_messages{{consumer=\"{}\"}} ", sink.name());
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    /// How many messages it holds.
    pub(crate) fn stored(&self) -> u64 {
        let stats = Client::connect(&self.address()).get("/stats");
        stats.expect(200).json()["total_messages"].as_u64().expect("a number")
    }

    /// What its followers had to tell, line by line.
    pub(crate) fn told(&self) -> Vec<String> {
        let lives = self.followers.iter().flat_map(|follower| &follower.told);
        lives.flat_map(|told| told.so_far().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for sink in SINKS {
            self.stop_following(sink);
        }
    }
}
