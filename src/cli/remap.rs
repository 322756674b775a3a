//! `remap` maps items of WhatsApp again that could not be mapped, or takes captured bodies as if they had been sent.

use std::path::Path;

use super::import::{open_or_make, stopped};
use super::input_lines::Lines;
use super::streams::say_line;
use super::{EX_DATAERR, EX_IOERR, Failure};
use crate::advice;
use crate::os;
use crate::store::{DatabasePath, Import, RemapStep, StoreError};
use crate::whatsapp::{self, ItemCounts, ItemResult};

pub(super) fn remap(database: &DatabasePath, file: Option<&Path>) -> Result<(), Failure> {
    os::lower_priority_of_this_thread();
    match file {
        None => again(database),
        Some(file) => take_in(database, file),
    }
}

/// What is kept and not mapped.
fn again(database: &DatabasePath) -> Result<(), Failure> {
    let mut store = Import::open_existing(database)?;
    let mut sum = RemapStep { last: i64::MIN, ..RemapStep::default() };
    while let Some(step) =
        store.remap(sum.last).map_err(|error| stopped(&format!("item {}", sum.last), &error))?
    {
        sum.mapped += step.mapped;
        sum.split += step.split;
        sum.left += step.left;
        sum.last = step.last;
    }
    let RemapStep { mapped, split, left, .. } = sum;
    say_line(&format!("{mapped} items have become messages, {split} were split, {left} stay as they are"));
    Ok(())
}

/// Bodies, one on each line.
fn take_in(database: &DatabasePath, file: &Path) -> Result<(), Failure> {
    let mut lines = Lines::open(Some(file))?;
    let mut store = open_or_make(database)?;
    let (mut counts, mut refused) = (ItemCounts::default(), 0);
    let mut refuse = |line: u64, why: &str| {
        refused += 1;
        say_line(&format!("line {line}: {why}"));
    };
    let read_all = loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match line.content.and_then(body_of) {
            Err(why) => refuse(line.number, &why),
            Ok(body) => match store.put_delivery(whatsapp::split(body)) {
                Ok(of_this) => counts += &of_this,
                Err(error @ StoreError::Refused(_)) => refuse(line.number, &error.cause()),
                Err(error) => {
                    tell(&counts, refused);
                    return Err(stopped(&format!("line {}", line.number), &error));
                }
            },
        }
    };
    tell(&counts, refused);
    read_all.map_err(|error| {
        let advice = advice::on_file(&error);
        Failure::new(EX_IOERR, format!("stopped: cannot read: {error}; {advice}; then run it again"))
    })?;
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::new(EX_DATAERR, "what was refused is not stored"))
}

/// The wrong file would fill the store with what can never be mapped.
fn body_of(line: &[u8]) -> Result<&[u8], String> {
    let body = line.trim_ascii();
    if body.len() > whatsapp::MAX_BODY_BYTES {
        return Err(format!(
            "it is longer than {} bytes, which WhatsApp never sends",
            whatsapp::MAX_BODY_BYTES
        ));
    }
    let is_one = whatsapp::has_entry(body);
    is_one.then_some(body).ok_or_else(|| {
        "it is no body that WhatsApp sends: an object of JSON with a member entry, all of it on one line (jq -c)".into()
    })
}

fn tell(counts: &ItemCounts, refused: u64) {
    let [created, duplicate, unmapped] = [ItemResult::Created, ItemResult::Duplicate, ItemResult::Unmapped]
        .map(|result| counts.results(result));
    say_line(&format!(
        "{created} items stored, {duplicate} were there already, {unmapped} stored and not mapped, {refused} lines \
         refused"
    ));
}
