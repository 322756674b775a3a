//! What the caller of `scripts/bench` asked for; its `--help` says what there is to ask.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::Failure;

/// What a store is measured at, as far as `--largest` lets it.
const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];
/// What plain SQL is compared at.
const COMPARED: u64 = 1_000_000;
/// What a run for the README has.
const FULL_SECONDS: u64 = 10;
const FULL_CONNECTIONS: [u32; 3] = [8, 64, 256];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Stores,
    Footprint,
    Ingest,
    Reads,
    Mixed,
    Growth,
    Feed,
    Whatsapp,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Stores,
        Self::Footprint,
        Self::Ingest,
        Self::Reads,
        Self::Mixed,
        Self::Growth,
        Self::Feed,
        Self::Whatsapp,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stores => "stores",
            Self::Footprint => "footprint",
            Self::Ingest => "ingest",
            Self::Reads => "reads",
            Self::Mixed => "mixed",
            Self::Growth => "growth",
            Self::Feed => "feed",
            Self::Whatsapp => "whatsapp",
        }
    }
}

pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) largest: u64,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) connections: Vec<u32>,
    pub(crate) messages: u64,
    pub(crate) binary: PathBuf,
    pub(crate) stores: PathBuf,
    pub(crate) charts: Option<PathBuf>,
    /// Where the build and the results are.
    pub(crate) target: PathBuf,
}

impl Options {
    pub(crate) fn parse() -> Result<Self, Failure> {
        let mut asked = Self {
            parts: Vec::new(),
            largest: SIZES[SIZES.len() - 1],
            seconds: FULL_SECONDS,
            rounds: 3,
            connections: FULL_CONNECTIONS.to_vec(),
            messages: 0,
            binary: PathBuf::new(),
            stores: PathBuf::new(),
            charts: None,
            target: PathBuf::from("target"),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("largest") => asked.largest = parser.value()?.parse()?,
                Long("seconds") => asked.seconds = parser.value()?.parse()?,
                Long("rounds") => asked.rounds = parser.value()?.parse()?,
                Long("connections") => {
                    let list = parser.value()?.string()?;
                    let numbers = list.split_whitespace().map(str::parse);
                    asked.connections = numbers.collect::<Result<_, _>>()?;
                }
                Long("messages") => asked.messages = parser.value()?.parse()?,
                Long("binary") => asked.binary = parser.value()?.into(),
                Long("stores") => asked.stores = parser.value()?.into(),
                Long("charts") => asked.charts = Some(parser.value()?.into()),
                // From the script, which knows it.
                Long("target") => asked.target = parser.value()?.into(),
                Value(part) => {
                    let part = part.string()?;
                    let known = Part::ALL.into_iter().find(|known| known.name() == part);
                    asked.parts.push(known.ok_or_else(|| format!("there is no part {part}"))?);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        asked.complete()
    }

    fn complete(mut self) -> Result<Self, Failure> {
        if self.largest < 1_000 || self.seconds == 0 || self.rounds == 0 {
            return Err("--largest is at least 1000, --seconds and --rounds at least 1".into());
        }
        if self.connections.is_empty() || self.connections.contains(&0) {
            return Err("--connections wants numbers above 0".into());
        }
        if self.parts.is_empty() {
            self.parts = Part::ALL.to_vec();
        }
        if self.messages == 0 {
            self.messages = self.seconds * 80_000;
        }
        if self.binary.as_os_str().is_empty() {
            self.binary = self.target.join("release/lyftr-webhook");
        }
        if self.stores.as_os_str().is_empty() {
            self.stores = self.target.join("bench-stores");
        }
        if !self.binary.is_file() {
            return Err(format!("no program at {}", self.binary.display()).into());
        }
        // The service is told the path of its database, and runs in another folder.
        self.binary = std::path::absolute(&self.binary)?;
        self.stores = std::path::absolute(&self.stores)?;
        Ok(self)
    }

    /// The sizes that are measured, ascending.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = SIZES.into_iter().filter(|size| *size < self.largest).collect();
        sizes.push(self.largest);
        sizes
    }

    /// The size at which plain SQL does the same.
    pub(crate) fn compared(&self) -> u64 {
        COMPARED.min(self.largest)
    }

    pub(crate) fn is_full_size(&self) -> bool {
        self.largest == SIZES[SIZES.len() - 1]
    }

    pub(crate) fn is_full_load(&self) -> bool {
        self.seconds >= FULL_SECONDS && self.connections == FULL_CONNECTIONS
    }
}
