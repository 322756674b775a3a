//! A load of webhooks: wrk sends signed messages over many connections at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::cleanup;
use crate::report::{Report, progress};

/// Time for the answers that are still on their way when sending ends.
const DRAIN_SECONDS: u64 = 3;

pub(crate) struct Load<'a> {
    pub(crate) connections: u32,
    pub(crate) seconds: u64,
    pub(crate) messages: &'a Path,
    /// Over and over, so that all but the first of each are duplicates.
    pub(crate) again: bool,
}

/// What became of a load.
pub(crate) struct Posted {
    pub(crate) acknowledged: u64,
    /// Acknowledged messages a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load<'_> {
    /// Sends, and voids the run if it was no fair one.
    pub(crate) fn run(&self, address: SocketAddr, report: &mut Report) -> Result<Posted, Failure> {
        let threads = self.connections.min(2);
        let child = Command::new("wrk")
            .args(["-t", &threads.to_string(), "-c", &self.connections.to_string()])
            .args(["-d", &format!("{}s", self.seconds + DRAIN_SECONDS), "--timeout", "30s", "-s"])
            .arg(script())
            .arg(format!("http://{address}/webhook"))
            .arg("--")
            .arg(self.messages)
            .args([threads.to_string(), self.seconds.to_string()])
            .args(self.again.then_some("again"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run wrk: {error}"))?;
        let watched = cleanup::watch(&child);
        let output = child.wait_with_output()?;
        drop(watched);
        let said = String::from_utf8_lossy(&output.stdout);
        let Some(result) = said.lines().find_map(|line| line.strip_prefix("result ")) else {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(format!("wrk did not finish: {said}{complaint}").into());
        };
        self.judge(result, report)
    }

    /// As bench.lua writes it.
    fn judge(&self, result: &str, report: &mut Report) -> Result<Posted, Failure> {
        let numbers: Vec<f64> = result.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[sent, answered, refused, broken, ran_out, p50_ms, p99_ms] = numbers.as_slice() else {
            return Err(format!("not understood of wrk: {result}").into());
        };
        for (count, what) in [(refused, "answers of status 400 and above"), (broken, "socket errors")] {
            if count > 0.0 {
                progress(format!("{what}: {count}"));
            }
        }
        if sent != answered {
            progress(format!("sent {sent}, answered {answered}"));
        }
        let acknowledged = answered - refused;
        if ran_out > 0.0 {
            report.void("the messages ran out; see --messages");
        }
        if acknowledged <= 0.0 {
            return Err("the service acknowledged nothing".into());
        }
        let rate = acknowledged / self.seconds as f64;
        Ok(Posted { acknowledged: acknowledged as u64, rate, p50_ms, p99_ms })
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench.lua")
}
