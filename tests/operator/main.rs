//! In an operator's hands: the real executable beside the real programs that people run it with.
//!
//! `scripts/operator` installs what they need first.

mod alerts;
mod balancer;
mod balancers;
mod browser;
mod commit;
mod completions;
mod container;
mod daemon;
mod follow_units;
mod from_nothing;
mod image;
mod install;
mod journal;
mod litestream;
mod logs;
mod manager;
mod monitor;
mod nats_server;
mod nats_stub;
mod nkeys;
mod package;
mod page;
mod page_reach;
mod page_trust;
mod page_whatsapp;
mod post_targets;
mod postgres;
mod postgres_questions;
mod postgres_recipes;
mod postgres_trouble;
mod prometheus;
mod proxies;
mod readme;
mod recipes;
mod scratch;
mod standard_webhooks;
mod stub_receiver;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod systemd;
mod to_nats;
mod to_nats_odd;
mod to_nats_recipes;
mod to_nats_refusals;
mod to_nats_trust;
mod to_postgres;
mod tools;
mod whatsapp_libraries;

use support::*;
