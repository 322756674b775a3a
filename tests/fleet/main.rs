//! A fleet as scripts/fleet.md has it: three receivers behind HAProxy, each followed into PostgreSQL and NATS, while
//! one thing after the other fails.
//!
//! `scripts/operator fleet` runs it for ten minutes; without settings it takes one.

mod chaos;
#[allow(dead_code, reason = "another suite uses the rest")]
#[path = "../operator/daemon.rs"]
mod daemon;
mod disk;
mod engines;
mod fault;
mod isolation;
mod machine;
mod messages;
mod proxy;
#[allow(dead_code, reason = "another suite uses the rest")]
#[path = "../load/random.rs"]
mod random;
mod rates;
mod receiver;
#[allow(dead_code, reason = "another suite uses the rest")]
#[path = "../operator/recipes.rs"]
mod recipes;
mod schedule;
mod senders;
mod stream;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod verdict;

use support::*;
