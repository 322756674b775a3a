//! `erase` deletes what the named senders have sent.

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;

use super::Failure;
use super::progress::with_progress;
use super::streams::print;
use crate::message::is_sender;
use crate::store::{self, DatabasePath};

/// What follows `erase`.
pub(super) struct EraseOptions {
    senders: Vec<String>,
    /// The file is written anew as well.
    vacuum: bool,
}

impl EraseOptions {
    /// `None` where help is asked for.
    pub(super) fn parse(parser: &mut lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        const TAKES: &str =
            "erase takes --sender and a number as it was sent, + and digits, or a user id of WhatsApp";
        let mut options = Self { senders: Vec::new(), vacuum: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("sender") => {
                    let sender = parser.value().ok().and_then(|value| value.string().ok());
                    options.senders.push(sender.filter(|sender| is_sender(sender)).ok_or(TAKES)?);
                }
                Long("help") | Short('h') => return Ok(None),
                Long("vacuum") => options.vacuum = true,
                other => return Err(other.unexpected()),
            }
        }
        if options.senders.is_empty() { Err(TAKES.into()) } else { Ok(Some(options)) }
    }
}

pub(super) fn erase(database: &DatabasePath, options: &EraseOptions) -> Result<(), Failure> {
    let erased =
        with_progress(None, |progress| store::erase(database, &options.senders, options.vacuum, progress))?;
    let items = match erased.items {
        0 => String::new(),
        items => format!(", and {items} items of WhatsApp"),
    };
    print(&format!("{} messages{items} erased\n", erased.messages))
}
