//! A waiter hears exactly once what became of its message.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::store::database::insertion::Inserted;
use crate::store::error::StoreError;
use crate::waker::Waker;

/// What became of a message.
pub type Outcome = Result<Inserted, StoreError>;

/// An outcome, and the number that its waiter was given.
pub type Heard = (usize, Outcome);

/// Where outcomes go: to a thread that is woken for them. What waits there is bounded by who asks.
#[derive(Clone)]
pub struct OutcomeSender {
    outcomes: Sender<Heard>,
    waker: Arc<Waker>,
}

/// A way for outcomes to the thread that this waker wakes.
pub fn outcomes(waker: Arc<Waker>) -> (OutcomeSender, Receiver<Heard>) {
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
pub(super) fn answer_all(answers: impl IntoIterator<Item = (Waiter, Outcome)>) {
    let mut told: Option<Arc<Waker>> = None;
    for (mut waiter, outcome) in answers {
        let waker = waiter.send(outcome);
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
    pub(super) fn answer(self, outcome: Outcome) {
        answer_all([(self, outcome)]);
    }

    /// Who is to be woken for it.
    fn send(&mut self, outcome: Outcome) -> Option<Arc<Waker>> {
        let OutcomeSender { outcomes, waker } = self.sender.take()?;
        // Whoever asked may be gone.
        let _ = outcomes.send((self.ticket, outcome));
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

    #[test]
    fn a_waiter_that_nobody_answers_hears_that_its_message_may_be_lost() {
        let waker = Arc::new(Waker::new().unwrap());
        let (sender, heard) = outcomes(Arc::clone(&waker));
        drop(sender.waiter(1));
        assert_eq!(heard.try_recv(), Ok((1, Err(StoreError::Lost))));
        assert!(waker.is_pending());
        sender.waiter(2).answer(Ok(Inserted::Created));
        assert_eq!(heard.try_recv(), Ok((2, Ok(Inserted::Created))));
        assert!(heard.try_recv().is_err(), "an answer is given once");
    }
}
