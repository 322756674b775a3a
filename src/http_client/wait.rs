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
        let mut fds =
            [PollFd::from_borrowed_fd(descriptor, events), PollFd::from_borrowed_fd(descriptor, events)];
        let fds = match self.interruption {
            Some(waker) => {
                fds[1] = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
                &mut fds[..]
            }
            None => &mut fds[..1],
        };
        loop {
            let left = self.left();
            if left.is_zero() {
                return Err(HttpClientError::Timeout);
            }
            // A deadline beyond what fits is one for ever.
            match poll(fds, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if fds.get(1).is_some_and(|waker| !waker.revents().is_empty()) => {
                    return Err(HttpClientError::Interrupted);
                }
                Ok(_) => return Ok(()),
                Err(error) => return Err(HttpClientError::Connect(error.into())),
            }
        }
    }

    /// For so long, or until the deadline or an interruption, which are errors.
    pub(super) fn pause(&self, pause: Duration) -> Result<(), HttpClientError> {
        let left = self.left();
        if left.is_zero() {
            return Err(HttpClientError::Timeout);
        }
        let pause = Timespec::try_from(pause.min(left)).ok();
        let mut fds = self.interruption.map(|waker| PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN));
        match poll(fds.as_mut_slice(), pause.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => Err(HttpClientError::Interrupted),
            Err(error) => Err(HttpClientError::Connect(error.into())),
        }
    }
}
