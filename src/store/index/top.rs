//! The busiest senders of the messages in the order, kept as a list: an index by count would be
//! rewritten for every sender who sends.
//!
//! Counts only rise as messages are taken in, so who is among the busiest afterwards was it before
//! or has just sent. Where somebody else has deleted or changed messages the list is empty, and read
//! from all the counts until it is kept again.

use rusqlite::Connection;

use super::super::page::text;
use crate::limits::TOP_SENDERS;

/// Senders and how many messages they have sent: busiest first, by name where they are equally busy.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct Top(Vec<(String, u64)>);

impl Top {
    pub(in super::super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let kept = Self::select(connection, "messages_top")?;
        if kept.0.is_empty() { Self::select(connection, "messages_senders") } else { Ok(kept) }
    }

    fn select(connection: &Connection, table: &str) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT sender, messages FROM {table} ORDER BY messages DESC, sender LIMIT ?1"
        ))?;
        let senders = statement.query_map([TOP_SENDERS], |row| {
            Ok((text(row, 0)?.unwrap_or_default(), row.get::<_, i64>(1)?.unsigned_abs()))
        })?;
        senders.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Replaces the list that is kept.
    pub(in super::super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM messages_top")?.execute([])?;
        let mut put =
            connection.prepare_cached("INSERT INTO messages_top (sender, messages) VALUES (?1, ?2)")?;
        for (sender, messages) in &self.0 {
            put.execute((sender, *messages as i64))?;
        }
        Ok(())
    }

    /// A sender has sent so many now, at least as many as before.
    pub(in super::super) fn raise(&mut self, sender: &str, messages: u64) {
        let Self(top) = self;
        let least = top.last().filter(|_| top.len() >= TOP_SENDERS as usize);
        if least.is_some_and(|(other, most)| (*most, sender) > (messages, other)) {
            return;
        }
        top.retain(|(other, _)| other != sender);
        let place = top.partition_point(|(other, more)| (*more, sender) > (messages, other));
        top.insert(place, (sender.to_owned(), messages));
        top.truncate(TOP_SENDERS as usize);
    }

    pub(in super::super) fn into_senders(self) -> Vec<(String, u64)> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_ten_stay_and_ties_are_by_name() {
        let mut top = Top::default();
        for n in (0..30_u64).rev() {
            top.raise(&format!("+{n:02}"), n % 3);
        }
        let names = |top: &Top| top.0.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&top), ["+02", "+05", "+08", "+11", "+14", "+17", "+20", "+23", "+26", "+29"]);
        top.raise("+23", 3);
        top.raise("+01", 2);
        top.raise("+30", 2);
        assert_eq!(names(&top), ["+23", "+01", "+02", "+05", "+08", "+11", "+14", "+17", "+20", "+26"]);
    }
}
