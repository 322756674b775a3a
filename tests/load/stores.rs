//! The databases that the parts read, made once and kept: files as an earlier implementation leaves
//! them, the same with the indexes of plain SQL, and the same again as the service has migrated
//! them. What is kept is whole, and of the same rows and the same schema as this run would make.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::corpus::{Corpus, GENERATOR};
use crate::figures::{megabytes, rows as shown};
use crate::files::{self, copy, open, parts, remove, with_suffix};
use crate::moment;
use crate::plain;
use crate::report::progress;
use crate::requests::KINDS;
use crate::service::Service;

/// The folders of copies begin with this.
pub(crate) const COPIES: &str = "copies-";
/// Of a row, in all the files of its size and the copies made of them.
const BYTES_PER_ROW: u64 = 1_500;
const PROGRESS_ROWS: u64 = 1_000_000;
/// For the one index that is filled in no order: that of the ids.
const CACHE_KIB: i64 = 256 << 10;

pub(crate) struct Stores {
    folder: PathBuf,
    binary: PathBuf,
    /// What this binary's schema is known by.
    schema: OnceCell<String>,
    /// Held as long as this lives: another run would throw away the copies of this one.
    _lock: File,
}

/// A database and what is known of how it was made.
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) notes: Value,
}

impl Prepared {
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        files::bytes(&self.path)
    }

    pub(crate) fn seconds(&self, what: &str) -> f64 {
        self.notes[what].as_f64().unwrap_or_default()
    }
}

impl Stores {
    pub(crate) fn open(folder: &Path, binary: &Path) -> Result<Self, Failure> {
        let current = format!("generator-{GENERATOR}");
        fs::create_dir_all(folder.join(&current))
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("another run is using {}", folder.display()))?;
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            // Rows of another kind, or copies that a run left which could not clean up.
            let is_old = name.starts_with("generator-") && name != current;
            if is_old || name.starts_with(COPIES) {
                progress(format!("removing {name}, which an earlier run left behind"));
                fs::remove_dir_all(folder.join(&*name))?;
            }
        }
        let folder = folder.join(current);
        Ok(Self { folder, binary: binary.to_owned(), schema: OnceCell::new(), _lock: lock })
    }

    /// The contract's table and nothing else, as an earlier implementation leaves it.
    pub(crate) fn plain(&self, rows: u64) -> Result<Prepared, Failure> {
        let make = |path: &Path| {
            self.check_room(rows * BYTES_PER_ROW)?;
            fill(path, rows)
        };
        self.keep(&format!("plain-{rows}.db"), |_| true, make)
    }

    /// What plain SQL answers to every kind of request.
    pub(crate) fn answers(&self, rows: u64) -> Result<Value, Failure> {
        let has_all = |notes: &Value| KINDS.iter().all(|kind| notes.get(kind.name).is_some());
        let source = self.plain(rows)?;
        let kept = self.keep(&format!("answers-{rows}"), has_all, |_| {
            progress(format!("asking plain SQL about {} rows", shown(rows)));
            let connection = open(&source.path)?;
            let mut answers = Map::new();
            for kind in &KINDS {
                let found = plain::ask(&connection, &(kind.question)(rows))?;
                answers.insert(kind.name.to_owned(), found.map_or(Value::Null, |found| found.canonical()));
            }
            Ok(Value::Object(answers))
        })?;
        Ok(kept.notes)
    }

    /// With the two indexes that plain SQL would have, and WAL.
    pub(crate) fn indexed(&self, rows: u64) -> Result<Prepared, Failure> {
        let source = self.plain(rows)?;
        let make = |path: &Path| {
            progress(format!("giving {} rows the indexes of plain SQL", shown(rows)));
            copy(&source.path, path)?;
            let connection = open(path)?;
            connection.execute_batch("PRAGMA synchronous = OFF")?;
            connection.execute_batch(plain::INDEXES)?;
            connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            Ok(json!({}))
        };
        self.keep(&format!("indexed-{rows}.db"), |_| true, make)
    }

    /// As the service has made it of the plain file.
    pub(crate) fn served(&self, rows: u64) -> Result<Prepared, Failure> {
        let schema = self.schema()?;
        let source = self.plain(rows)?;
        let make = |path: &Path| {
            progress(format!("having the service migrate {} rows", shown(rows)));
            copy(&source.path, path)?;
            let service = Service::start(&self.binary, path, &[])?;
            let ready_after = service.ready_after;
            let indexing = service.wait_until_indexed()?;
            service.stop()?;
            Ok(json!({
                "schema": schema,
                "ready_seconds": ready_after.as_secs_f64(),
                "indexed_seconds": (ready_after + indexing).as_secs_f64(),
            }))
        };
        self.keep(&format!("served-{rows}.db"), |notes| notes["schema"] == *schema, make)
    }

    /// A digest of the schema that this binary gives to a new file.
    fn schema(&self) -> Result<&str, Failure> {
        if let Some(schema) = self.schema.get() {
            return Ok(schema);
        }
        let path = self.folder.join("empty.db");
        remove(&path)?;
        let service = Service::start(&self.binary, &path, &[])?;
        service.wait_until_indexed()?;
        service.stop()?;
        let mut digest = Sha256::new();
        for part in parts(&path) {
            let connection = open(&part)?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            digest.update(version.to_le_bytes());
            let mut statements =
                connection.prepare("SELECT COALESCE(sql, name) FROM sqlite_schema ORDER BY name")?;
            for sql in statements.query_map([], |row| row.get::<_, String>(0))? {
                digest.update(sql?);
            }
        }
        remove(&path)?;
        Ok(self.schema.get_or_init(|| hex::encode(digest.finalize())))
    }

    fn check_room(&self, needed: u64) -> Result<(), Failure> {
        let room = rustix::fs::statvfs(&self.folder)?;
        let free = room.f_bavail * room.f_frsize;
        if free < needed {
            let folder = self.folder.display();
            let [free, needed] = [free, needed].map(megabytes);
            let advice = "see --stores and --largest";
            return Err(format!("{folder} has {free} MB free and needs some {needed}; {advice}").into());
        }
        Ok(())
    }

    /// What is there under a name, or else what `make` makes under another one: the notes, which
    /// `make` gives, are written last and say that it is whole.
    fn keep(
        &self,
        name: &str,
        is_current: impl Fn(&Value) -> bool,
        make: impl FnOnce(&Path) -> Result<Value, Failure>,
    ) -> Result<Prepared, Failure> {
        let path = self.folder.join(name);
        let notes_path = with_suffix(&path, ".json");
        let notes = fs::read_to_string(&notes_path).ok().and_then(|text| serde_json::from_str(&text).ok());
        if let Some(notes) = notes.filter(|notes| is_current(notes)) {
            return Ok(Prepared { path, notes });
        }
        if fs::remove_file(&notes_path).is_ok() {
            progress(format!("{name} is of another kind than this run needs"));
        }
        let partial = with_suffix(&path, ".partial");
        remove(&path)?;
        remove(&partial)?;
        let began = Instant::now();
        let mut notes = make(&partial)?;
        if partial.exists() {
            files::rename(&partial, &path)?;
        }
        let seconds = began.elapsed().as_secs_f64();
        notes["seconds"] = json!(seconds);
        notes["made"] = json!(moment::now());
        let partial_notes = with_suffix(&notes_path, ".partial");
        fs::write(&partial_notes, notes.to_string())?;
        fs::rename(&partial_notes, &notes_path)?;
        progress(format!("made {name} in {seconds:.1} s"));
        Ok(Prepared { path, notes })
    }
}

/// Makes a file as an earlier implementation would have grown it.
fn fill(path: &Path, rows: u64) -> Result<Value, Failure> {
    progress(format!("making {} rows", shown(rows)));
    let connection = Connection::open(path)?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{CACHE_KIB};"
    ))?;
    connection.execute_batch(plain::TABLE)?;
    connection.execute_batch("BEGIN")?;
    let mut insert = connection.prepare(plain::INSERT)?;
    for (number, row) in (1..).zip(Corpus::new().stored(rows)) {
        plain::insert(&mut insert, &row)?;
        if number % PROGRESS_ROWS == 0 && number < rows {
            progress(format!("{} of {} rows", shown(number), shown(rows)));
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(json!({}))
}
