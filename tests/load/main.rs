//! What `scripts/bench` runs: measures the service beside plain SQL and the machine's own limit, part
//! by part.
//!
//! Machines differ and are noisy, so what counts is ratios: of things measured in one run, in turns,
//! and of several rounds the median. An answer that is wrong, or a message that is lost, voids the run.
//!
//! | | modules |
//! |---|---|
//! | parts | [`migration`] [`footprint`] [`ingest`] [`reads`] [`mixed`] [`growth`] [`wal`] [`feed`] [`whatsapp`] |
//! | what they ask and send | [`requests`] [`asked`] [`clients`] [`post`] [`http`] |
//! | what they compare with | [`plain`] [`bare`] |
//! | what they work on | [`stores`] [`files`] [`service`] [`supply`] [`corpus`] [`random`] |
//! | what they say | [`report`] [`chart`] [`figures`] [`machine`] [`moment`] |

mod asked;
mod bare;
mod chart;
mod cleanup;
mod clients;
mod corpus;
mod feed;
mod figures;
mod files;
mod footprint;
mod growth;
mod http;
mod ingest;
mod machine;
mod migration;
mod mixed;
mod moment;
mod options;
mod plain;
mod post;
mod random;
mod reads;
mod report;
mod requests;
mod service;
mod stores;
mod supply;
mod wal;
mod whatsapp;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tempfile::TempDir;

use crate::corpus::Corpus;
use crate::options::{Options, Part};
use crate::post::{Load, Posted};
use crate::report::{Report, progress};
use crate::service::Service;
use crate::stores::Stores;

type Failure = Box<dyn Error + Send + Sync>;

/// As sysexits.h has it.
const EX_USAGE: u8 = 64;

/// What every part works with.
struct Bench {
    options: Options,
    corpus: Corpus,
    stores: Stores,
    report: Report,
    /// On the disk of the stores, gone when the run ends.
    copies: TempDir,
    loads: u64,
}

impl Bench {
    fn new(options: Options) -> Result<Self, Failure> {
        let stores = Stores::open(&options.stores, &options.binary)?;
        let report =
            Report::new(&options.target.join("bench-results.jsonl"), machine::describe(&options.stores))?;
        let copies = tempfile::Builder::new().prefix(stores::COPIES).tempdir_in(&options.stores)?;
        cleanup::folder(copies.path());
        Ok(Self { options, corpus: Corpus::new(), stores, report, copies, loads: 0 })
    }

    fn run(&mut self, part: Part) -> Result<(), Failure> {
        progress(part.name());
        match part {
            Part::Stores => migration::run(self),
            Part::Footprint => footprint::run(self),
            Part::Ingest => ingest::run(self),
            Part::Reads => reads::run(self),
            Part::Mixed => mixed::run(self),
            Part::Growth => growth::run(self).and_then(|()| wal::run(self)),
            Part::Feed => feed::run(self),
            Part::Whatsapp => whatsapp::run(self),
        }
    }

    /// A path in the folder of copies with no database at it.
    fn copy_path(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.copies.path().join(name);
        files::remove(&path)?;
        Ok(path)
    }

    fn start(&self, database: &Path) -> Result<Service, Failure> {
        self.start_with(database, &[])
    }

    /// With more settings than every service of a run has.
    fn start_with(&self, database: &Path, settings: &[(&str, &str)]) -> Result<Service, Failure> {
        Service::start(&self.options.binary, database, settings)
    }

    /// A file of signed messages that no load of this run has sent yet.
    fn new_messages(&mut self, count: u64) -> Result<PathBuf, Failure> {
        self.loads += 1;
        let path = self.copies.path().join("messages");
        supply::write(&path, &self.corpus, count, self.loads)?;
        Ok(path)
    }

    /// Posts new messages to a running service for as long as loads last.
    fn post_new(&mut self, service: &Service, connections: u32) -> Result<Posted, Failure> {
        let messages = self.new_messages(self.options.messages)?;
        let load = Load { connections, seconds: self.options.seconds, messages: &messages, again: false };
        load.run(service.address(), &mut self.report)
    }

    /// Every acknowledged message is in the file, once, when the service has stopped.
    fn check_rows(&mut self, what: &str, database: &Path, expected: u64) -> Result<(), Failure> {
        let found = files::count(database)?;
        if found != expected {
            self.report.void(format!("{what}: {found} rows are in the file and not {expected}"));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench: {error}; see scripts/bench --help");
            return ExitCode::from(EX_USAGE);
        }
    };
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False if the run is void.
fn run(options: Options) -> Result<bool, Failure> {
    cleanup::on_signals()?;
    if let Some(load) = machine::busy() {
        progress(format!("the machine is at work already (load average {load}): figures may be too low"));
    }
    let parts = options.parts.clone();
    let mut bench = Bench::new(options)?;
    for part in parts {
        bench.run(part)?;
    }
    bench.report.print(format!("## Summary\n\n{}", bench.report.summary()))?;
    Ok(!bench.report.is_void())
}
