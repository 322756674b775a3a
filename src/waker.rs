//! A waker ends the wait of a thread that polls descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one thread, once however many have something for it. That thread polls it for input.
pub struct Waker {
    event: OwnedFd,
    pending: AtomicBool,
}

impl Waker {
    pub fn new() -> rustix::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, pending: AtomicBool::new(false) })
    }

    pub fn wake(&self) {
        if !self.pending.swap(true, SeqCst) {
            // It can only fail when the counter is full, and then the thread is awake.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// The thread has not come round to what it was woken for.
    pub fn is_pending(&self) -> bool {
        self.pending.load(SeqCst)
    }

    /// For the thread that was woken, before it looks what there is: whoever comes later wakes it again.
    pub fn reset(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.event, &mut count);
        self.pending.store(false, SeqCst);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
