//! The top senders are kept as a list: an index by count would be rewritten for every sender who sends.
//!
//! Counts rise as messages are taken in, so who is among the busiest afterwards was it before or has
//! just sent. Where messages are gone and somebody who is not listed may be among the busiest instead, the
//! list is empty, and read from all the counts until it is kept again.

use rusqlite::Connection;

use crate::limits::TOP_SENDERS;
use crate::sort_key::RawText;

/// Senders and how many messages they have sent: busiest first, by name where they are equally busy.
#[derive(Debug, Default, PartialEq)]
pub struct TopSenders(Vec<(RawText, u64)>);

impl TopSenders {
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let kept = Self::kept(connection)?;
        if kept.0.is_empty() { Self::select(connection, "messages_senders") } else { Ok(kept) }
    }

    /// The list that is kept, or an empty one.
    pub(super) fn kept(connection: &Connection) -> rusqlite::Result<Self> {
        Self::select(connection, "messages_top")
    }

    fn select(connection: &Connection, table: &str) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT sender, messages FROM {table} ORDER BY messages DESC, sender LIMIT ?1"
        ))?;
        let senders = statement
            .query_map([TOP_SENDERS], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        senders.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Replaces the list that is kept.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM messages_top")?.execute([])?;
        let mut put =
            connection.prepare_cached("INSERT INTO messages_top (sender, messages) VALUES (?1, ?2)")?;
        for (sender, messages) in &self.0 {
            put.execute((sender, *messages as i64))?;
        }
        Ok(())
    }

    /// A sender has sent so many now, at least as many as before.
    pub fn raise(&mut self, sender: &RawText, messages: u64) {
        let Self(top) = self;
        let least = top.last().filter(|_| top.len() >= TOP_SENDERS as usize);
        if least.is_some_and(|(other, most)| (*most, sender) > (messages, other)) {
            return;
        }
        top.retain(|(other, _)| other != sender);
        let place = top.partition_point(|(other, more)| (*more, sender) > (messages, other));
        top.insert(place, (sender.clone(), messages));
        top.truncate(TOP_SENDERS as usize);
    }

    /// A sender has sent so many now, less than before. Who is not listed stays behind the last who is.
    pub(super) fn lower(&mut self, sender: &RawText, messages: u64) {
        let Self(top) = self;
        let Some(place) = top.iter().position(|(other, _)| other == sender) else {
            return;
        };
        let has_all = top.len() < TOP_SENDERS as usize;
        top.remove(place);
        let place = top.partition_point(|(other, more)| (*more, sender) > (messages, other));
        if place == top.len() && !has_all {
            top.clear();
        } else if messages > 0 {
            top.insert(place, (sender.clone(), messages));
        }
    }

    pub fn into_senders(self) -> Vec<(String, u64)> {
        let shown = |RawText(sender): &RawText| String::from_utf8_lossy(sender).into_owned();
        self.0.iter().map(|(sender, messages)| (shown(sender), *messages)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> RawText {
        format!("+{number}").as_str().into()
    }

    #[test]
    fn the_list_is_given_up_where_somebody_else_may_be_busier() {
        let mut top = TopSenders((0..10).map(|n| (name(n), 100 - n)).collect());
        top.lower(&name(20), 5);
        top.lower(&name(2), 95);
        assert_eq!(top.0.iter().position(|(sender, _)| *sender == name(2)), Some(4));
        assert_eq!(top.0.len(), 10);
        top.lower(&name(3), 90);
        assert!(top.0.is_empty());
        let mut all = TopSenders(vec![(name(1), 3), (name(2), 2)]);
        all.lower(&name(1), 1);
        assert_eq!(all.0, [(name(2), 2), (name(1), 1)]);
        all.lower(&name(1), 0);
        assert_eq!(all.0, [(name(2), 2)]);
    }

    #[test]
    fn the_busiest_ten_stay_and_ties_are_by_name() {
        let mut top = TopSenders::default();
        for n in (0..30_u64).rev() {
            top.raise(&format!("+{n:02}").as_str().into(), n % 3);
        }
        let names = |top: &TopSenders| -> Vec<String> {
            TopSenders(top.0.clone()).into_senders().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&top), ["+02", "+05", "+08", "+11", "+14", "+17", "+20", "+23", "+26", "+29"]);
        top.raise(&"+23".into(), 3);
        top.raise(&"+01".into(), 2);
        top.raise(&"+30".into(), 2);
        assert_eq!(names(&top), ["+23", "+01", "+02", "+05", "+08", "+11", "+14", "+17", "+20", "+26"]);
    }
}
