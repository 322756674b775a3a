//! A mutex is locked here although a thread has panicked with it: what ours guard is whole between any two steps.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until somebody notifies; perhaps less (a spurious wake-up).
pub fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits as long as `is_so` holds, until the deadline. `None` if it still holds then.
pub fn wait_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Instant,
    is_so: impl FnMut(&mut T) -> bool,
) -> Option<MutexGuard<'a, T>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let waited = changed.wait_timeout_while(guard, left, is_so);
    let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
    (!result.timed_out()).then_some(guard)
}
