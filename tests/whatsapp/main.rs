//! What Meta sends is kept whole, once, through the real executable: every sample, every order, every power cut.
//!
//! | module | purpose |
//! |---|---|
//! | [`samples`] | the bodies as they came, taken apart without the service's own code |
//! | [`deliveries`] | bodies made for a test, their delivery, what the file then holds |
//! | [`taken`] | each sample becomes the items and rows that `became.md` names |
//! | [`once`] | the same messages again, at once, in other batches |
//! | [`crashes`] | `kill -9` while bodies of a thousand messages come in |

#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;

use support::*;

mod crashes;
mod deliveries;
mod once;
mod samples;
mod taken;
