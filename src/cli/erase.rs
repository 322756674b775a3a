//! `erase` deletes what the named senders have sent.

use std::io::IsTerminal;

use lexopt::Arg::Long;
use lexopt::ValueExt;

use super::Failure;
use crate::message::is_msisdn;
use crate::store::{self, DatabasePath};

/// What follows `erase`.
pub(super) struct EraseOptions {
    senders: Vec<String>,
    /// The file is written anew as well.
    vacuum: bool,
}

impl EraseOptions {
    pub(super) fn parse(parser: &mut lexopt::Parser) -> Result<Self, lexopt::Error> {
        const TAKES: &str = "erase takes --sender and a number as it was sent, + and digits";
        let mut options = Self { senders: Vec::new(), vacuum: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("sender") => {
                    let sender = parser.value().ok().and_then(|value| value.string().ok());
                    options.senders.push(sender.filter(|sender| is_msisdn(sender)).ok_or(TAKES)?);
                }
                Long("vacuum") => options.vacuum = true,
                other => return Err(other.unexpected()),
            }
        }
        if options.senders.is_empty() { Err(TAKES.into()) } else { Ok(options) }
    }
}

pub(super) fn erase(database: &DatabasePath, options: &EraseOptions) -> Result<(), Failure> {
    let is_terminal = std::io::stderr().is_terminal();
    let erased = store::erase(database, &options.senders, options.vacuum, |done, all| {
        if is_terminal {
            super::say(&format!("\r{:3} %", done * 100 / all.max(1)));
        }
    })?;
    if is_terminal {
        super::say("\r");
    }
    super::print(&format!("{erased} messages erased\n"))
}
