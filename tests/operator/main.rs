//! In an operator's hands: the real executable beside the real programs that people run it with.
//!
//! What a test needs and the machine does not have is said on stderr, and the test passes.
//! `scripts/operator` installs all of it first.

mod alerts;
mod browser;
mod commit;
mod completions;
mod container;
mod daemon;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/exposition.rs"]
mod exposition;
#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
#[path = "../contract/fixtures.rs"]
mod fixtures;
mod from_nothing;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/http_client.rs"]
mod http_client;
mod image;
mod install;
mod journal;
mod litestream;
mod logs;
mod manager;
mod monitor;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/output.rs"]
mod output;
mod package;
mod page;
mod page_reach;
mod page_trust;
mod prometheus;
mod proxies;
mod recipes;
mod scratch;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/service.rs"]
mod service;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../contract/setup.rs"]
mod setup;
mod systemd;
mod tools;
