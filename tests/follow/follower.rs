//! The real `follow`, running.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::fake_feed::FakeFeed;
use crate::fixtures::{eventually, signal};
use crate::output::{Lines, parse_lines};
use crate::setup::{Setup, wait};

pub(crate) struct Follower {
    child: Child,
    setup: Option<Setup>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// The folder of a test, in which `follow` has its state.
pub(crate) fn setup() -> Setup {
    Setup::new().without("WEBHOOK_SECRET").without("DATABASE_URL").with("PATH", "/usr/bin:/bin")
}

/// `--url` of the feed, and the rest.
pub(crate) fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["follow", "--url", url], more].concat()
}

/// Starts it in a folder of its own.
pub(crate) fn follow(feed: &FakeFeed, more: &[&str]) -> Follower {
    setup().follow(feed, more)
}

impl Setup {
    pub(crate) fn follow(self, feed: &FakeFeed, more: &[&str]) -> Follower {
        self.run_follow(&arguments(&feed.url(), more))
    }

    pub(crate) fn run_follow(mut self, arguments: &[&str]) -> Follower {
        let mut child = self.command(arguments).spawn().expect("the executable starts");
        let stdout = child.stdout.take().map(Lines::of).unwrap_or_default();
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Follower { child, setup: Some(self), stdout, stderr }
    }

    /// The same with nobody who reads its stdout.
    pub(crate) fn follow_unread(mut self, feed: &FakeFeed, more: &[&str]) -> Follower {
        let mut command = self.command(&arguments(&feed.url(), more));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the executable starts");
        drop(child.stdout.take());
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Follower { child, setup: Some(self), stdout: Lines::default(), stderr }
    }
}

impl Follower {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.setup.as_ref().expect("it keeps its setup").path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until stdout has these messages and no other.
    #[track_caller]
    pub(crate) fn writes(&self, ids: &[&str]) {
        eventually(&format!("{ids:?} are written"), || {
            let text = self.stdout.so_far();
            assert!(lines_of(&text) <= ids.len(), "more than {ids:?}: {text}");
            (text.ends_with('\n') && lines_of(&text) == ids.len()).then_some(())
        });
        assert_eq!(ids_of(&self.stdout.so_far()), ids);
    }

    /// Waits until a file that a command writes has these lines.
    #[track_caller]
    pub(crate) fn has_lines(&self, name: &str, lines: &[&str]) {
        let whole = || self.read(name).lines().map(str::to_owned).collect::<Vec<_>>();
        eventually(&format!("{name} has {lines:?}"), || (whole().len() >= lines.len()).then_some(()));
        assert_eq!(whole(), lines, "{}", self.stderr.so_far());
    }

    /// Waits for a line of this event on stderr.
    #[track_caller]
    pub(crate) fn tells(&self, event: &str) -> Value {
        eventually(&format!("it tells of {event}"), || {
            let text = self.stderr.so_far();
            let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            parse_lines(text).into_iter().find(|line| line["event"] == event)
        })
    }

    pub(crate) fn told(&self, event: &str) -> usize {
        self.stderr.json().iter().filter(|line| line["event"] == event).count()
    }

    /// Asks for an orderly end, which takes no wait.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Setup {
        self.signal("TERM");
        assert_eq!(wait(&mut self.child).code(), Some(0), "{}", self.stderr.to_the_end());
        self.setup.take().expect("it keeps its setup")
    }

    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().expect("it is our child");
        wait(&mut self.child);
        self.setup.take().expect("it keeps its setup")
    }

    /// Waits for its end, which comes with this status and a line that says all of this.
    #[track_caller]
    pub(crate) fn ends(mut self, code: i32, said: &[&str]) -> Setup {
        let status = wait(&mut self.child);
        let text = self.stderr.to_the_end();
        assert_eq!(status.code(), Some(code), "{text}");
        let last = text.lines().last().unwrap_or_default();
        for part in said {
            assert!(last.contains(part), "{part:?} is not in {last:?}");
        }
        self.setup.take().expect("it keeps its setup")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines_of(text: &str) -> usize {
    text.lines().count()
}

/// The ids of messages, one a line.
#[track_caller]
pub(crate) fn ids_of(text: &str) -> Vec<String> {
    let id = |message: Value| message["message_id"].as_str().expect("a message has an id").to_owned();
    parse_lines(text).into_iter().map(id).collect()
}
