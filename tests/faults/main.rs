//! Failing machines: every fault really happens to the real executable, under load, and nothing acknowledged is lost.
//!
//! What a test needs and the machine does not give (root, strace, a file system of its own) is said on stderr,
//! and the test passes. `scripts/faults` runs all of it with long settings.

mod clock;
mod creation;
mod damage;
mod disk;
mod files;
mod index;
mod inherited;
mod load;
mod locks;
mod logs;
mod order;
mod process;
mod restored;
mod stdout;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod syscalls;
mod tracer;

use support::*;
