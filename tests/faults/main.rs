//! Failing machines: every fault really happens to the real executable, under load, and nothing acknowledged is lost.
//!
//! `scripts/faults` runs all of it with long settings.

mod bodies;
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
