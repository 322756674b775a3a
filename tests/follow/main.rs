//! `follow`, asked as section 13 of the contract has it: what is handed on, in which order, and what survives.

mod disk;
mod exec;
mod fake_feed;
mod feed;
mod follower;
mod letters;
mod post;
mod program;
mod state;
mod stdout;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod whole_day;

use support::*;
