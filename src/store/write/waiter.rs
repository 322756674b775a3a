//! A waiter hears exactly once what became of its message.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::batch::Stored;
use crate::store::error::StoreError;
use crate::waker::Waker;

/// What became of a message, or of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The number that its waiter was given.
    pub ticket: usize,
    pub result: Result<Stored, StoreError>,
}

/// Where outcomes go: to a thread that is woken for them. What waits there is bounded by who asks.
#[derive(Clone)]
pub struct OutcomeSender {
    outcomes: Sender<Outcome>,
    waker: Arc<Waker>,
}

/// A way for outcomes to the thread that this waker wakes.
pub fn outcomes(waker: Arc<Waker>) -> (OutcomeSender, Receiver<Outcome>) {
    let (sender, receiver) = unbounded();
    (OutcomeSender { outcomes: sender, waker }, receiver)
}

impl OutcomeSender {
    /// Waits for one message; `ticket` comes back with its outcome.
    pub fn waiter(&self, ticket: usize) -> Waiter {
        Waiter { ticket, sender: Some(self.clone()) }
    }
}

/// Who waits for one message. Dropped without an answer it hears [`StoreError::Lost`].
pub struct Waiter {
    ticket: usize,
    /// `None` once it was answered.
    sender: Option<OutcomeSender>,
}

/// Answers those who wait for a batch. A thread that many of them wait on is woken once, when it can go through
/// all of their outcomes.
pub(super) fn answer_all(answers: impl IntoIterator<Item = (Waiter, Result<Stored, StoreError>)>) {
    let mut told: Option<Arc<Waker>> = None;
    for (mut waiter, result) in answers {
        let waker = waiter.send(result);
        if let Some(before) =
            told.take().filter(|before| !waker.as_ref().is_some_and(|w| Arc::ptr_eq(w, before)))
        {
            before.wake();
        }
        told = waker;
    }
    if let Some(waker) = told {
        waker.wake();
    }
}

impl Waiter {
    pub(super) fn answer(self, result: Result<Stored, StoreError>) {
        answer_all([(self, result)]);
    }

    /// Who is to be woken for it.
    fn send(&mut self, result: Result<Stored, StoreError>) -> Option<Arc<Waker>> {
        let OutcomeSender { outcomes, waker } = self.sender.take()?;
        // Whoever asked may be gone.
        let _ = outcomes.send(Outcome { ticket: self.ticket, result });
        Some(waker)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(waker) = self.send(Err(StoreError::Lost)) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::database::insertion::Inserted;

    #[test]
    fn a_waiter_that_nobody_answers_hears_that_its_message_may_be_lost() {
        let waker = Arc::new(Waker::new().unwrap());
        let (sender, heard) = outcomes(Arc::clone(&waker));
        drop(sender.waiter(1));
        assert_eq!(heard.try_recv(), Ok(Outcome { ticket: 1, result: Err(StoreError::Lost) }));
        assert!(waker.is_pending());
        sender.waiter(2).answer(Ok(Stored::Message(Inserted::Created)));
        assert_eq!(
            heard.try_recv(),
            Ok(Outcome { ticket: 2, result: Ok(Stored::Message(Inserted::Created)) })
        );
        assert!(heard.try_recv().is_err(), "an answer is given once");
    }
}
