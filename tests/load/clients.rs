//! Clients that ask one thing each, again and again without a pause, while something else happens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::figures::Samples;
use crate::http::Client;

/// What one client was answered.
pub(crate) struct Heard {
    pub(crate) samples: Samples,
    /// Answers other than 200.
    pub(crate) refused: usize,
}

/// One client a target, all at once, for so long or until `meanwhile` ends, whichever is first.
pub(crate) fn ask_during<T>(
    address: SocketAddr,
    targets: &[&str],
    seconds: u64,
    meanwhile: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, Vec<Heard>), Failure> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    let goes_on = || Instant::now() < until && !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let clients: Vec<_> =
            targets.iter().map(|target| scope.spawn(|| ask(address, target, goes_on))).collect();
        let done = meanwhile();
        over.store(true, Ordering::Relaxed);
        let heard = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())))
            .collect::<Result<_, _>>()?;
        Ok((done?, heard))
    })
}

/// The same with nothing else going on.
pub(crate) fn ask_quietly(
    address: SocketAddr,
    targets: &[&str],
    seconds: u64,
) -> Result<Vec<Heard>, Failure> {
    let wait = || {
        thread::sleep(Duration::from_secs(seconds));
        Ok(())
    };
    Ok(ask_during(address, targets, seconds, wait)?.1)
}

fn ask(address: SocketAddr, target: &str, goes_on: impl Fn() -> bool) -> Result<Heard, Failure> {
    let mut client = Client::connect(address)?;
    let (mut samples, mut refused) = (Vec::new(), 0);
    while goes_on() {
        let answer = client.get(target)?;
        if answer.status == 200 {
            samples.push(answer.took);
        } else {
            refused += 1;
        }
    }
    Ok(Heard { samples: samples.into(), refused })
}
