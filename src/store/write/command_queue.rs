//! The command queue wakes the writer once as many commands wait as it has asked for.
//!
//! A thread that is woken for each of them would run for each of them: the writer sleeps until its batch is there.
//!
//! Memory is taken for what waits, not for what may: a bounded channel would hold all of its places from the start.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Instant;

use crossbeam_channel::{Receiver, SendError, Sender, TryRecvError, TrySendError, unbounded};

/// Nobody waits.
const NONE: usize = usize::MAX;

/// What both sides know.
struct Awaited {
    /// So many commands, or [`NONE`].
    count: AtomicUsize,
    by: OnceLock<Thread>,
}

pub(super) struct CommandSender<T> {
    commands: Sender<T>,
    places: usize,
    awaited: Arc<Awaited>,
}

/// The side of the one thread that takes commands.
pub(super) struct CommandQueue<T> {
    commands: Receiver<T>,
    awaited: Arc<Awaited>,
}

/// A queue with so many places.
pub(super) fn command_queue<T>(places: usize) -> (CommandSender<T>, CommandQueue<T>) {
    let (sender, receiver) = unbounded();
    let awaited = Arc::new(Awaited { count: AtomicUsize::new(NONE), by: OnceLock::new() });
    (
        CommandSender { commands: sender, places, awaited: Arc::clone(&awaited) },
        CommandQueue { commands: receiver, awaited },
    )
}

impl<T> CommandSender<T> {
    /// Where there is a place. Of threads that take the last one together each has it.
    pub(super) fn try_send(&self, command: T) -> Result<(), TrySendError<T>> {
        if self.commands.len() >= self.places {
            return Err(TrySendError::Full(command));
        }
        Ok(self.send(command)?)
    }

    /// Also where there is no place: for what comes one at a time.
    pub(super) fn send(&self, command: T) -> Result<(), SendError<T>> {
        self.commands.send(command).inspect(|()| self.wake())
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Either this sees that the thread waits, or that sees the command: each first does its own, then looks.
    fn wake(&self) {
        if self.commands.len() >= self.awaited.count.load(SeqCst)
            && let Some(thread) = self.awaited.by.get()
        {
            thread.unpark();
        }
    }
}

impl<T> Clone for CommandSender<T> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), places: self.places, awaited: Arc::clone(&self.awaited) }
    }
}

impl<T> CommandQueue<T> {
    /// Waits until so many commands are there, or until the deadline.
    pub(super) fn wait_for(&self, count: usize, deadline: Instant) {
        self.awaited.by.get_or_init(thread::current);
        self.awaited.count.store(count, SeqCst);
        while self.commands.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        self.awaited.count.store(NONE, SeqCst);
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.commands.try_recv()
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_waits_for_several_is_woken_when_they_are_there() {
        let (sender, queue) = command_queue(8);
        let waiting = thread::spawn(move || {
            queue.wait_for(3, Instant::now() + LONG);
            std::iter::from_fn(|| queue.try_recv().ok()).collect::<Vec<_>>()
        });
        while sender.awaited.count.load(SeqCst) == NONE {
            thread::yield_now();
        }
        for command in 1..=3 {
            assert!(!waiting.is_finished());
            sender.try_send(command).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn nobody_waits_past_the_deadline_or_for_what_is_there() {
        let (sender, queue) = command_queue(8);
        queue.wait_for(1, Instant::now());
        assert_eq!(queue.len(), 0);
        sender.send(1).unwrap();
        queue.wait_for(1, Instant::now() + LONG);
        assert_eq!(queue.try_recv(), Ok(1));
        assert_eq!(sender.awaited.count.load(SeqCst), NONE);
    }

    #[test]
    fn a_queue_has_so_many_places_and_one_more_for_what_cannot_be_refused() {
        let (sender, queue) = command_queue(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        sender.send(4).unwrap();
        assert_eq!([queue.try_recv(), queue.try_recv()], [Ok(1), Ok(2)]);
        sender.try_send(5).unwrap();
        assert_eq!([queue.try_recv(), queue.try_recv()], [Ok(4), Ok(5)]);
        drop(queue);
        assert_eq!(sender.try_send(6), Err(TrySendError::Disconnected(6)));
    }
}
