//! The service as a process: started on a database, watched, asked to stop.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::cleanup::{self, Watched};
use crate::files::{INDEX, with_suffix};
use crate::http::Client;
use crate::machine;
use crate::report::progress;

pub(crate) const SECRET: &str = "bench";

/// From exec to ready, even where a file is brought up to date first.
const LONGEST_START: Duration = Duration::from_secs(3600);
/// Building the derived tables of the largest store on a slow machine.
const LONGEST_INDEXING: Duration = Duration::from_secs(4 * 3600);
/// Short against what is timed with it.
const START_POLL: Duration = Duration::from_micros(250);
const INDEX_POLL: Duration = Duration::from_millis(100);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);
/// Somebody else may take a free port before the service does.
const START_ATTEMPTS: usize = 5;

const UNINDEXED: &str = "store_unindexed_messages";

pub(crate) struct Service {
    child: Child,
    _watched: Watched,
    database: PathBuf,
    address: SocketAddr,
    /// From exec to the first 200 of `/health/ready`.
    pub(crate) ready_after: Duration,
}

impl Service {
    pub(crate) fn start(binary: &Path, database: &Path, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let complaints = with_suffix(database, ".stderr");
        for _ in 0..START_ATTEMPTS {
            let address = free_address()?;
            let began = Instant::now();
            let child = Command::new(binary)
                .env_clear()
                .env("WEBHOOK_SECRET", SECRET)
                .envs(settings.iter().copied())
                .env("DATABASE_URL", format!("sqlite:///{}", database.display()))
                .env("LISTEN_ADDR", address.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&complaints)?)
                .spawn()
                .map_err(|error| format!("cannot run {}: {error}", binary.display()))?;
            let watched = cleanup::watch(&child);
            let mut service = Self {
                child,
                _watched: watched,
                database: database.to_owned(),
                address,
                ready_after: Duration::ZERO,
            };
            if service.becomes_ready(began)? {
                service.ready_after = began.elapsed();
                fs::remove_file(&complaints)?;
                return Ok(service);
            }
        }
        let said = fs::read_to_string(&complaints).unwrap_or_default();
        Err(format!("{} does not start on {}: {said}", binary.display(), database.display()).into())
    }

    /// False if it has ended instead.
    fn becomes_ready(&mut self, began: Instant) -> Result<bool, Failure> {
        while began.elapsed() < LONGEST_START {
            let ready = Client::connect(self.address).and_then(|mut client| client.get("/health/ready"));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(true);
            }
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            thread::sleep(START_POLL);
        }
        Err(format!("the service is not ready within {} s", LONGEST_START.as_secs()).into())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.address)?)
    }

    /// Waits until every message is in every derived table; how long that took.
    pub(crate) fn wait_until_indexed(&self) -> Result<Duration, Failure> {
        self.watch_indexing(|| Ok(0))
    }

    /// The same, with `meanwhile` done again and again until then. It says how many messages it has
    /// posted so far, which are not waited for.
    pub(crate) fn watch_indexing(
        &self,
        mut meanwhile: impl FnMut() -> Result<usize, Failure>,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        let mut client = self.client()?;
        let mut posted = 0;
        let mut next_progress = PROGRESS_INTERVAL;
        let mut done_since = None;
        loop {
            let left = unindexed(&mut client)?;
            let now = began.elapsed();
            done_since = if left <= posted as f64 { done_since.or(Some(now)) } else { None };
            // Seen twice, in case that the service has only begun to look.
            if let Some(since) = done_since
                && since < now
            {
                return Ok(since);
            }
            if now >= next_progress {
                progress(format!("{left} messages left to index after {} s", now.as_secs()));
                next_progress += PROGRESS_INTERVAL;
            }
            if now > LONGEST_INDEXING {
                return Err("the service does not finish its derived tables".into());
            }
            let poll = Instant::now();
            posted = meanwhile()?;
            thread::sleep(INDEX_POLL.saturating_sub(poll.elapsed()));
        }
    }

    /// Resident memory in bytes: now, and at its highest.
    pub(crate) fn memory(&self) -> Result<(u64, u64), Failure> {
        let status = format!("/proc/{}/status", self.child.id());
        let bytes = |name: &str| -> Result<u64, Failure> {
            let value = machine::field(&status, name).ok_or_else(|| format!("{status} has no {name}"))?;
            let kib: u64 = value.trim_end_matches(" kB").parse()?;
            Ok(kib * 1024)
        };
        Ok((bytes("VmRSS")?, bytes("VmHWM")?))
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let text = scrape(&mut self.client()?)?;
        let seconds = sample(&text, "process_cpu_seconds_total").next();
        Ok(seconds.ok_or("/metrics has no process_cpu_seconds_total")?)
    }

    /// Asks it to stop, and has it leave a file without a log behind.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("the service ended with {status} when it was asked to stop").into());
        }
        Ok(())
    }

    /// The write-ahead logs of its database and of the index beside that.
    pub(crate) fn logs(&self) -> [PathBuf; 2] {
        [with_suffix(&self.database, "-wal"), with_suffix(&with_suffix(&self.database, INDEX), "-wal")]
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn scrape(client: &mut Client) -> Result<String, Failure> {
    let answer = client.get("/metrics")?;
    if answer.status != 200 {
        return Err(format!("/metrics was answered {}", answer.status).into());
    }
    Ok(String::from_utf8(answer.body)?)
}

/// Messages that lack in the derived table that lacks most; none where there is no such gauge.
fn unindexed(client: &mut Client) -> Result<f64, Failure> {
    Ok(sample(&scrape(client)?, UNINDEXED).fold(0.0, f64::max))
}

/// The values of a family, whatever its labels.
fn sample<'a>(text: &'a str, family: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(family).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit(' ').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_read_with_all_its_labels() {
        let text = "# HELP a A.\na{index=\"order\"} 3\na{index=\"search\"} 17\nab 9\n";
        assert_eq!(sample(text, "a").collect::<Vec<_>>(), [3.0, 17.0]);
        assert_eq!(sample(text, "ab").collect::<Vec<_>>(), [9.0]);
    }
}
