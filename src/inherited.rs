//! What a process inherits from the one that started it is brought into a known state, whatever that was.
//!
//! - Signals that were blocked are delivered, and a child that ends can be waited for. Those that a service or a
//!   follower obeys are held until it does, so that an early one is an orderly end as well.
//! - A file at the limit of its size is an error of the write (`EFBIG`), and not the end of the process.
//! - The umask takes nothing away from the owner and gives nobody else the right to write.
//! - Closed standard streams were opened on `/dev/null` by the standard library before `main`, so that no
//!   file of ours gets their number. Whoever moves data through one finds it closed all the same
//!   ([`os::was_closed_at_start`]).
//!
//! What remains is as it should be inherited: `SIGHUP` ignored by nohup(1) for a command, limits, priority.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::Mode;
use rustix::process::umask;
use signal_hook::consts::SIGXFSZ;

use crate::os;

/// To be called first, before a second thread is started and before any file is made.
pub fn reset() {
    // A handler, which a program that is started from here does not inherit as it would inherit `SIG_IGN`.
    // It cannot be refused for this signal; if it were, the signal would do what it does by default.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    os::wait_for_children_as_usual();
    os::hold_signals();
    let inherited = umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
    umask(known_mask(inherited));
}

fn known_mask(inherited: Mode) -> Mode {
    inherited & (Mode::RWXG | Mode::RWXO) | Mode::WGRP | Mode::WOTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_leaves_the_owner_everything_and_others_no_right_to_write() {
        for (inherited, known) in
            [(0o777, 0o077), (0o000, 0o022), (0o022, 0o022), (0o002, 0o022), (0o027, 0o027), (0o077, 0o077)]
        {
            assert_eq!(known_mask(Mode::from_bits_truncate(inherited)).bits(), known, "{inherited:o}");
        }
    }
}
