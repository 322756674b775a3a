//! `follow` hands the messages of a service on: to a command, to a program's URL, or to stdout.

mod files;
mod options;

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::streams::{Stdout, say, say_line};
use super::{EX_CONFIG, EX_DATAERR, EX_IOERR, EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, Failure};
use crate::advice;
use crate::config::Config;
use crate::follow::{
    CheckpointError, End, ExecTarget, Feed, Follower, ForwardSecret, Handing, PostTarget, RedriveCounts,
    Reporter, StandardOutput, Stop, Target, advice_on_own_file, page_limit, probe_dead_letters, redrive,
};
use crate::http_client::{HttpEndpoint, Url};
use crate::notify::Notifier;
use crate::os;
pub(super) use options::FollowOptions;
use options::{Destination, FeedOptions, Origin};

/// How much longer than its timeout an attempt may take at a stop: a command is ended gently first.
const STOP_GRACE: Duration = Duration::from_secs(5);

const BAD_SECRET: &str = "FORWARD_SECRET cannot be used: behind whsec_ it takes a key in base64; a key of another form is taken as it is";

pub(super) fn follow(options: FollowOptions) -> Result<(), Failure> {
    let stop = Arc::new(Stop::new().map_err(|error| no_resources(&error.into()))?);
    // Before anything else, so that a stop is an orderly end from the start.
    obey(&stop, options.timeout).map_err(|error| no_resources(&error))?;
    files::check(&options).map_err(|error| Failure::new(EX_USAGE, error))?;
    let handing = handing(&options, &stop)?;
    match options.origin {
        Origin::Feed(feed) => follow_feed(&feed, handing, options.batch),
        Origin::File(file) => {
            let mut handing = handing;
            let mut counts = RedriveCounts::default();
            let ended = redrive(&mut handing, &file, options.batch, &mut counts);
            say_line(&format!(
                "{} messages handed on, {} among the dead letters again, {} lines refused",
                counts.handed_on, counts.dead_letters, counts.refused
            ));
            match ended {
                Ok(()) if counts.dead_letters > 0 => {
                    Err(Failure::new(EX_DATAERR, "not everything was taken; mend that, and hand it on again"))
                }
                Ok(()) if counts.refused > 0 => {
                    Err(Failure::new(EX_DATAERR, "what was refused is no message, and was not handed on"))
                }
                Ok(()) => Ok(()),
                Err(End::Stopped) => Err(Failure::new(
                    EX_TEMPFAIL,
                    "stopped before the end; run it again for all of them once more",
                )),
                Err(end) => failure(end),
            }
        }
    }
}

fn follow_feed(options: &FeedOptions, handing: Handing, batch: usize) -> Result<(), Failure> {
    let token = Config::api_token()?;
    // A token is visible ASCII.
    let token = token.map(|token| String::from_utf8_lossy(&token).into_owned());
    let url = options.url.clone().map_or_else(own_url, Ok)?;
    let waker = Arc::clone(&handing.stop.waker);
    let feed = Feed::new(&url, &options.name, token.as_deref(), page_limit(batch), waker)
        .with_originals(options.originals);
    let mut follower = Follower { feed, handing, batch };
    let end = follower.run(&options.state, options.start);
    follower.handing.report.stopping();
    failure(end)
}

/// The service of this machine, at `LISTEN_ADDR`.
fn own_url() -> Result<Url, Failure> {
    let listen = Config::listen_from_env()?;
    let addresses =
        listen.own_addresses().map_err(|error| Failure::new(EX_CONFIG, format!("LISTEN_ADDR: {error}")))?;
    Ok(Url { endpoint: HttpEndpoint::Local(addresses), path: "/".to_owned() })
}

fn handing(options: &FollowOptions, stop: &Arc<Stop>) -> Result<Handing, Failure> {
    if let Some(file) = &options.dead_letters {
        probe_dead_letters(file).map_err(|error| {
            let advice = advice_on_own_file(file, &error);
            Failure::new(
                EX_UNAVAILABLE,
                format!("the dead letters {} cannot be written: {error}; {advice}", file.display()),
            )
        })?;
    }
    let target = match &options.destination {
        Destination::Stdout => {
            Stdout.probe().map_err(|error| {
                let advice = advice::on_file(&error);
                Failure::new(EX_IOERR, format!("cannot write to stdout: {error}; {advice}"))
            })?;
            Target::Stdout(StandardOutput::new(|lines| Stdout.write_all(lines)))
        }
        Destination::Exec(command) => {
            let exec = ExecTarget::new(command.clone(), say, Arc::clone(stop));
            Target::Exec(exec.map_err(|error| no_resources(&error))?)
        }
        Destination::Post(url) => {
            let parse =
                |given| ForwardSecret::parse(given).ok_or_else(|| Failure::new(EX_CONFIG, BAD_SECRET));
            let secret = Config::forward_secret()?.map(parse).transpose()?;
            Target::Post(PostTarget::new(url.clone(), secret))
        }
    };
    Ok(Handing {
        target,
        timeout: options.timeout,
        attempts: options.attempts,
        dead_letters: options.dead_letters.clone(),
        checkpoint: None,
        report: Reporter::new(
            say,
            Notifier::from_env(|detail| say_line(&format!("lyftr-webhook: {detail}"))),
        ),
        stop: Arc::clone(stop),
    })
}

/// Starts the thread that obeys signals. The first one lets what is under way come to its end, for as long as it may
/// take; the second ends the process, and the command that is under way with it.
fn obey(stop: &Arc<Stop>, timeout: Duration) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
    os::unblock_signals();
    let stop = Arc::clone(stop);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR2 => {}
                // 128 + signal, as a shell reports a process that a signal has ended.
                _ if stop.is_asked() => stop.end_process(128 + signal),
                _ => {
                    stop.ask();
                    // A reader of stdout that hangs holds nobody for ever: nothing is lost that was not confirmed.
                    let backstop = thread::Builder::new().name("backstop".into());
                    let stop = Arc::clone(&stop);
                    let _ = backstop.spawn(move || {
                        thread::sleep(timeout + STOP_GRACE);
                        stop.end_process(0);
                    });
                }
            }
        }
    })?;
    Ok(())
}

fn no_resources(error: &io::Error) -> Failure {
    Failure::new(EX_UNAVAILABLE, format!("cannot start: {error}; {}", advice::on_thread(error)))
}

/// What the shell hears of the end.
fn failure(end: End) -> Result<(), Failure> {
    let (code, line) = match end {
        End::Stopped => return Ok(()),
        End::Gone(said) => (EX_UNAVAILABLE, said),
        End::Unfit(said) => (
            EX_CONFIG,
            format!(
                "{said}; to begin again, remove the state and start with --from beginning (every message once more) or \
                 --from now (those that come from now on)"
            ),
        ),
        // Whoever starts it again, with the settings as they are then, starts it with the token of then.
        End::Unauthorized(said) => (EX_NOPERM, said),
        End::Refused(said) => (EX_CONFIG, said),
        End::NotTaken(said) => (EX_TEMPFAIL, said),
        End::Output(said) => (EX_IOERR, said),
        End::State(error) => {
            let code = match &error {
                CheckpointError::InUse(_) => EX_TEMPFAIL,
                CheckpointError::Damaged(_) | CheckpointError::Newer { .. } | CheckpointError::TooLong => {
                    EX_CONFIG
                }
                CheckpointError::Removed(_) | CheckpointError::Unusable(..) => EX_UNAVAILABLE,
            };
            return Err(Failure::new(code, error));
        }
    };
    Err(Failure::new(code, line))
}
