//! Hostile clients and overload: each row of the table attacks the real executable while a
//! well-behaved client goes on posting, and says afterwards what became of both.
//!
//! Scaled down by default; `ATTACK_SCALE=full` sends what the table promises (see scripts/attack).
//! Times are measured and printed and never asserted, because machines differ.

mod exhaustion;
mod fairness;
mod floods;
mod framing;
mod garbage;
mod overload;
mod row;
mod searches;
mod service;
mod slow;
mod swarm;
mod wellbehaved;

// The contract's own client and messages; what only the contract asks for is no dead code there.
#[allow(dead_code)]
#[path = "../contract/fixtures.rs"]
mod fixtures;
#[allow(dead_code)]
#[path = "../contract/http_client.rs"]
mod http_client;
