//! Failing machines: every fault really happens to the real executable, under load, and nothing acknowledged is lost.
//!
//! What a test needs and the machine does not give (root, strace, a file system of its own) is said on stderr,
//! and the test passes. `scripts/faults` runs all of it with long settings.

mod clock;
mod creation;
mod damage;
mod disk;
mod files;
#[allow(dead_code, reason = "the contract's tests use the rest")]
#[path = "../contract/fixtures.rs"]
mod fixtures;
#[allow(dead_code, reason = "the contract's tests use the rest")]
#[path = "../contract/http_client.rs"]
mod http_client;
mod index;
mod inherited;
mod load;
mod locks;
mod logs;
mod order;
#[allow(dead_code, reason = "the contract's tests use the rest")]
#[path = "../contract/output.rs"]
mod output;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/plain.rs"]
mod plain;
mod process;
mod restored;
#[allow(dead_code, reason = "the contract's tests use the rest")]
#[path = "../contract/service.rs"]
mod service;
#[allow(dead_code, reason = "the contract's tests use the rest")]
#[path = "../contract/setup.rs"]
mod setup;
mod stdout;
mod syscalls;
mod tracer;
