//! A source is where a connection comes from, as far as fairness can tell one client from another.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use slab::Slab;

use crate::client::Client;

/// Where a connection comes from, by a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceId {
    Direct(usize),
    /// It is a proxy that the operator trusts, with many clients behind it.
    Proxy(usize),
}

impl SourceId {
    pub(super) fn number(self) -> usize {
        let (Self::Direct(number) | Self::Proxy(number)) = self;
        number
    }

    pub(super) fn is_proxy(self) -> bool {
        matches!(self, Self::Proxy(_))
    }
}

/// An IPv4 address, a /64 of IPv6 (what one subscriber is given, RFC 6177), or this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SourceAddress {
    V4(Ipv4Addr),
    V6(u64),
    Unix,
}

impl SourceAddress {
    fn of(client: Client) -> Self {
        match client {
            Client::Ip(IpAddr::V4(address)) => Self::V4(address),
            Client::Ip(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
            Client::Unix => Self::Unix,
        }
    }
}

/// The sources of all open connections, each with a small number of its own while it has any.
#[derive(Default)]
pub(super) struct Sources {
    numbers: HashMap<SourceAddress, usize>,
    entries: Slab<Entry>,
}

struct Entry {
    source: SourceAddress,
    connections: usize,
    /// Until then it asks for room in vain, and nobody looks for any.
    in_vain_until: Option<Instant>,
}

impl Sources {
    /// One connection more. Gives the number of its source.
    pub(super) fn add(&mut self, client: Client) -> usize {
        let source = SourceAddress::of(client);
        let entries = &mut self.entries;
        let number = *self
            .numbers
            .entry(source)
            .or_insert_with(|| entries.insert(Entry { source, connections: 0, in_vain_until: None }));
        self.entries[number].connections += 1;
        number
    }

    /// One connection less.
    pub(super) fn remove(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.connections -= 1;
            if entry.connections == 0 {
                self.numbers.remove(&entry.source);
                self.entries.remove(number);
            }
        }
    }

    /// The source of this client, if it has connections.
    pub(super) fn number_of(&self, client: Client) -> Option<usize> {
        self.numbers.get(&SourceAddress::of(client)).copied()
    }

    /// Connections that are open from there.
    pub(super) fn connections(&self, number: usize) -> usize {
        self.entries.get(number).map_or(0, |entry| entry.connections)
    }

    /// There is no room for this one, and will not be before then.
    pub(super) fn asks_in_vain(&mut self, number: usize, until: Instant) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.in_vain_until = Some(until);
        }
    }

    /// False if it was just found that there is no room for this one.
    pub(super) fn may_ask(&self, number: usize, now: Instant) -> bool {
        self.entries.get(number).and_then(|entry| entry.in_vain_until).is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Client {
        Client::of(text.parse().unwrap())
    }

    #[test]
    fn connections_are_counted_by_address_and_by_subscriber() {
        let mut sources = Sources::default();
        let first = sources.add(ip("192.0.2.1"));
        assert_eq!(sources.add(ip("::ffff:192.0.2.1")), first);
        assert_ne!(sources.add(ip("192.0.2.2")), first);
        let subscriber = sources.add(ip("2001:db8:0:1::1"));
        assert_eq!(sources.add(ip("2001:db8:0:1:ffff::2")), subscriber);
        assert_ne!(sources.add(ip("2001:db8:0:2::1")), subscriber);
        assert_ne!(sources.add(Client::Unix), first);
        assert_eq!((sources.number_of(ip("192.0.2.1")), sources.connections(first)), (Some(first), 2));
        assert_eq!(sources.number_of(ip("192.0.2.9")), None);
    }

    #[test]
    fn nothing_is_left_of_who_has_gone() {
        let mut sources = Sources::default();
        let number = sources.add(ip("192.0.2.1"));
        sources.add(ip("192.0.2.1"));
        sources.remove(number);
        assert_eq!(sources.connections(number), 1);
        sources.remove(number);
        assert!(sources.numbers.is_empty() && sources.entries.is_empty());
    }

    #[test]
    fn who_asks_in_vain_keeps_nobody_else_from_asking() {
        let mut sources = Sources::default();
        let (first, second) = (sources.add(ip("192.0.2.1")), sources.add(ip("192.0.2.2")));
        let now = Instant::now();
        let until = now + std::time::Duration::from_millis(10);
        sources.asks_in_vain(first, until);
        assert!(
            !sources.may_ask(first, now) && sources.may_ask(first, until) && sources.may_ask(second, now)
        );
    }
}
