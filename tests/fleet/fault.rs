//! What fails: one part of the fleet, in one way.

use std::fmt::{self, Display};

pub(crate) const RECEIVERS: usize = 3;

/// Where a receiver's messages are handed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Postgres,
    Nats,
}

pub(crate) const SINKS: [Sink; 2] = [Sink::Postgres, Sink::Nats];

impl Sink {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
        }
    }
}

/// What can fail by itself while the others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Receiver(usize),
    Follower(usize, Sink),
    Postgres,
    Nats,
    Proxy,
    /// Nothing fails.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, started again when it is over.
    Kill(Part),
    /// `pg_ctl stop -m immediate`.
    StopPostgres,
    /// Silence in both directions.
    Cut(Part),
    /// No room on the disk.
    Fill(Part),
    /// The same messages to these two receivers at once, past the proxy.
    Twins(usize, usize),
}

impl Fault {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Kill(part) | Self::Cut(part) | Self::Fill(part) => part,
            Self::StopPostgres => Part::Postgres,
            Self::Twins(..) => Part::Nothing,
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receiver(number) => write!(f, "receiver {number}"),
            Self::Follower(number, sink) => write!(f, "follower of receiver {number} to {}", sink.name()),
            Self::Postgres => f.write_str("PostgreSQL"),
            Self::Nats => f.write_str("nats-server"),
            Self::Proxy => f.write_str("HAProxy"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(part) => write!(f, "kill -9 of {part}"),
            Self::StopPostgres => f.write_str("stop -m immediate of PostgreSQL"),
            Self::Cut(part) => write!(f, "{part} cut off"),
            Self::Fill(part) => write!(f, "no room for {part}"),
            Self::Twins(one, other) => write!(f, "the same to receivers {one} and {other}"),
        }
    }
}
