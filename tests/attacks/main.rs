//! Hostile clients and overload: each row of the table attacks the real executable while a
//! well-behaved client goes on posting, and says afterwards what became of both.
//!
//! Scaled down by default; `ATTACK_SCALE=full` sends what the table promises (see scripts/attack).
//! Times are measured and printed and never asserted, because machines differ.

mod exhaustion;
mod fairness;
mod floods;
mod footprint;
mod framing;
mod garbage;
mod overload;
mod row;
mod searches;

mod slow;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod swarm;
mod wellbehaved;
mod whatsapp;

use support::*;
