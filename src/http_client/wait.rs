//! A wait ends with what a descriptor is ready for, at the deadline, or by an interruption.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::HttpClientError;
use crate::waker::Waker;

/// How long the whole exchange may take, and who may end it sooner.
#[derive(Clone, Copy)]
pub(super) struct Wait<'a> {
    deadline: Instant,
    interruption: Option<&'a Waker>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(deadline: Instant, interruption: Option<&'a Waker>) -> Self {
        Self { deadline, interruption }
    }

    /// The same wait, given up after `patience` at the latest.
    pub(super) fn at_most(self, patience: Duration) -> Self {
        Self { deadline: self.deadline.min(Instant::now() + patience), ..self }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Until `descriptor` is ready for one of `events`, or its other end is gone.
    pub(super) fn until(&self, descriptor: BorrowedFd<'_>, events: PollFlags) -> Result<(), HttpClientError> {
        while !self.poll(Some(PollFd::from_borrowed_fd(descriptor, events)), Duration::MAX)? {}
        Ok(())
    }

    /// For so long, or until the deadline or an interruption, which are errors.
    pub(super) fn pause(&self, pause: Duration) -> Result<(), HttpClientError> {
        self.poll(None, pause).map(|_| ())
    }

    /// Waits once, no longer than `most`. True if `descriptor` is ready.
    fn poll(&self, descriptor: Option<PollFd<'_>>, most: Duration) -> Result<bool, HttpClientError> {
        let left = self.left();
        if left.is_zero() {
            return Err(HttpClientError::Timeout);
        }
        let waker = self.interruption.map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN));
        let mut fds: Vec<_> = waker.into_iter().chain(descriptor).collect();
        // A deadline beyond what fits is one for ever.
        match poll(&mut fds, Timespec::try_from(left.min(most)).ok().as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) if self.interruption.is_some() && !fds[0].revents().is_empty() => {
                Err(HttpClientError::Interrupted)
            }
            Ok(_) => Ok(true),
            Err(error) => Err(HttpClientError::Connect(error.into())),
        }
    }
}
