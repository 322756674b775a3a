//! The command line parses the arguments into a command, whose failure becomes an exit code (sysexits.h).

mod check;
mod erase;
mod export;
mod export_items;
mod follow;
mod healthcheck;
mod import;
mod input_lines;
mod probe;
mod progress;
mod reload;
mod remap;
mod running;
mod serve;
mod signals;
mod streams;
mod watchdog;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use crate::config::{Config, ConfigError};
use crate::os;
use crate::signature::sign;
use crate::store::{self, DatabasePath, OpenError};
use crate::version::{COMMIT, VERSION};
use export::ExportForm;
use progress::with_progress;
use streams::{Stdin, print, say, say_line};

/// What was asked is not so: it is not ready, or not sound.
const NO: u8 = 1;
/// The arguments are wrong: restarting does not help.
const EX_USAGE: u8 = 64;
/// Some of the input was refused; the rest was taken.
const EX_DATAERR: u8 = 65;
/// Something that is needed is not there: a port, a folder, room on the disk.
const EX_UNAVAILABLE: u8 = 69;
/// The service ended by itself, which is a fault of the program.
const EX_SOFTWARE: u8 = 70;
/// Reading or writing failed on the way.
const EX_IOERR: u8 = 74;
/// Another process is in the way, or a target takes nothing at the moment: trying again later helps.
const EX_TEMPFAIL: u8 = 75;
/// The service wants another token.
const EX_NOPERM: u8 = 77;
/// A setting is wrong: restarting does not help.
const EX_CONFIG: u8 = 78;

const USAGE: &str = "\
Usage: lyftr-webhook [COMMAND]

Receives signed messages over HTTP and stores each exactly once in SQLite.

Commands:
  serve          run the service (the default)
  healthcheck    exit 0 if the service at LISTEN_ADDR is ready, 1 otherwise
  sign           read a body from stdin, print its X-Signature
  backup FILE    write a consistent copy of the database to FILE, also while it is in use
  restore FILE   put a backup in the place of the database, while no service uses it
  check [FILE]   exit 0 if the database, or FILE, is sound, and its index agrees with it
  export         write messages to stdout, one line of JSON each, also while they come;
                 --csv, and the filters of GET /messages: --from X, --since X, --q X;
                 --whatsapp writes what WhatsApp sent instead, item by item, with --unmapped
                 only what could not be made a message
  import [FILE]  store messages from FILE or stdin, as export writes them; says which lines
                 it refuses, and exits 65 if there are any
  erase --sender NUMBER [--vacuum]
                 erase every message from NUMBER, of several where --sender is repeated, from the
                 database and its index, also while they are in use, and what WhatsApp sent of and to
                 NUMBER, which may be a user id (US.…); not what others said of it
                 --vacuum writes the file anew, so that nothing is left of it in unused places
  remap          make messages of what WhatsApp sent and an earlier version could not map
  remap FILE     take bodies that were captured, one on each line, as if WhatsApp had sent them
  follow         hand every message on, at least once and in order, from a service's feed to stdout, or to
                 --exec COMMAND [ARG...]  started for each batch, which it reads as lines of JSON on stdin:
                                          0 confirms, 65 refuses for good, anything else is tried again;
                                          it comes last: all behind it belongs to the command
                 --post URL               a program at http:// or unix:, signed with FORWARD_SECRET
                 --url URL                the service (the one at LISTEN_ADDR)
                 --state FILE             where it stands (NAME.state)
                 --from beginning|now     where a new one begins (beginning)
                 --batch N, --timeout S   messages at a time (1), seconds for each try (30)
                 --attempts N             tries before a batch goes to --dead-letters FILE (for ever)
                 --name NAME              what the service calls it in /metrics (that of the state)
                 --original               with what WhatsApp sent of each message
                 --from-file FILE         hand dead letters on again, in the place of a feed

Options:
  -h, --help     print this
  -V, --version  print the version

Settings come from the environment:
  WEBHOOK_SECRET or WEBHOOK_SECRET_FILE, WEBHOOK_SECRET_PREVIOUS (_FILE), API_TOKEN (_FILE),
  WHATSAPP_APP_SECRET (_FILE), WHATSAPP_APP_SECRET_PREVIOUS (_FILE), WHATSAPP_VERIFY_TOKEN (_FILE),
  WHATSAPP_STATUSES (keep),
  FORWARD_SECRET (_FILE), DATABASE_URL (sqlite:///data/app.db), LISTEN_ADDR (127.0.0.1:8000), UNIX_SOCKET_MODE (0666),
  ALLOWED_HOSTS, TRUSTED_PROXIES,
  LOG_LEVEL (_FILE) (INFO), WORKERS (8), MAX_BODY_BYTES (65536), MAX_CONNECTIONS (8192),
  REQUEST_TIMEOUT_SECONDS (15), IDLE_TIMEOUT_SECONDS (60), RETENTION_DAYS

Signals while it serves:
  SIGTERM, SIGINT  finish what has begun and end; a second one ends at once
  SIGHUP           read the files of secrets and of the log level again
";

enum Command {
    Serve,
    Healthcheck,
    Sign,
    Backup(PathBuf),
    Restore(PathBuf),
    Check(Option<PathBuf>),
    Export(export::ExportOptions),
    Import(Option<PathBuf>),
    Remap(Option<PathBuf>),
    Erase(erase::EraseOptions),
    Follow(follow::FollowOptions),
    Version,
    Help,
}

/// A failure, as the shell hears of it: one line and an exit code.
struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    fn new(code: u8, line: impl Display) -> Self {
        Self { code, line: line.to_string() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match error {
            OpenError::Refused(_) => EX_CONFIG,
            OpenError::Unusable(_) | OpenError::Full(_) => EX_UNAVAILABLE,
            OpenError::InUse(_) => EX_TEMPFAIL,
        };
        Self::new(code, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(EX_CONFIG, error)
    }
}

/// Runs the command that `arguments` name, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match parse(lexopt::Parser::from_iter(arguments)) {
        Ok(command) => command,
        Err(error) => {
            say_line(&format!("lyftr-webhook: {error}"));
            say(&format!("\n{USAGE}"));
            return ExitCode::from(EX_USAGE);
        }
    };
    if !matches!(command, Command::Serve | Command::Follow(_)) {
        os::unblock_signals();
    }
    let result = match command {
        Command::Serve => Config::from_env().map_err(Failure::from).and_then(|config| serve::serve(&config)),
        Command::Healthcheck => healthcheck::check(),
        Command::Sign => print_signature(),
        Command::Backup(target) => database().and_then(|database| {
            with_progress(Some(&target), |progress| store::backup(&database, &target, progress))
        }),
        Command::Restore(backup) => database().and_then(|database| {
            with_progress(Some(&database), |progress| store::restore(&backup, &database, progress))
        }),
        Command::Check(file) => file
            .map_or_else(database, |file| Ok(DatabasePath::resolve(&file)?))
            .and_then(|file| check::check(&file)),
        Command::Export(options) => database().and_then(|database| {
            match options.form().map_err(|error| Failure::new(EX_USAGE, error))? {
                ExportForm::Messages { filter, is_csv } => export::export(&database, filter, is_csv),
                ExportForm::Items { only_unmapped } => export_items::export(&database, only_unmapped),
            }
        }),
        Command::Import(file) => database().and_then(|database| import::import(&database, file.as_deref())),
        Command::Remap(file) => database().and_then(|database| remap::remap(&database, file.as_deref())),
        Command::Erase(options) => database().and_then(|database| erase::erase(&database, &options)),
        Command::Follow(options) => follow::follow(options),
        Command::Version => print(&version()),
        Command::Help => print(USAGE),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say_line(&format!("lyftr-webhook: {}", failure.line));
            ExitCode::from(failure.code)
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut command = None;
    while let Some(argument) = parser.next()? {
        let next = match argument {
            Long("help") | Short('h') => return alone(parser, Command::Help),
            Long("version") | Short('V') => return alone(parser, Command::Version),
            Long(name @ ("csv" | "whatsapp" | "unmapped" | "from" | "since" | "q")) => {
                let (name, Some(Command::Export(mut options))) = (name.to_owned(), command.take()) else {
                    return Err(format!("--{name} belongs to export").into());
                };
                match name.as_str() {
                    "csv" => options.is_csv = true,
                    "whatsapp" => options.is_whatsapp = true,
                    "unmapped" => options.is_unmapped = true,
                    _ => options.filter_by(&name, &parser.value()?.string()?),
                }
                Command::Export(options)
            }
            Value(word) if command.is_none() => match word.to_str() {
                Some("serve") => Command::Serve,
                Some("healthcheck") => Command::Healthcheck,
                Some("sign") => Command::Sign,
                Some("backup") => match file(&mut parser, "backup needs the name of a FILE")? {
                    Some(file) => Command::Backup(file),
                    None => return alone(parser, Command::Help),
                },
                Some("restore") => match file(&mut parser, "restore needs the name of a FILE")? {
                    Some(file) => Command::Restore(file),
                    None => return alone(parser, Command::Help),
                },
                Some("check") => Command::Check(None),
                Some("export") => Command::Export(export::ExportOptions::default()),
                Some("import") => Command::Import(None),
                Some("remap") => Command::Remap(None),
                Some("follow") => match follow::FollowOptions::parse(&mut parser)? {
                    Some(options) => Command::Follow(options),
                    None => return alone(parser, Command::Help),
                },
                Some("erase") => match erase::EraseOptions::parse(&mut parser)? {
                    Some(options) => Command::Erase(options),
                    None => return alone(parser, Command::Help),
                },
                _ => return Err(Value(word).unexpected()),
            },
            Value(word) => match command {
                Some(Command::Check(None)) => Command::Check(Some(word.into())),
                Some(Command::Import(None)) => Command::Import(Some(word.into())),
                Some(Command::Remap(None)) => Command::Remap(Some(word.into())),
                _ => return Err(Value(word).unexpected()),
            },
            other => return Err(other.unexpected()),
        };
        command = Some(next);
    }
    Ok(command.unwrap_or(Command::Serve))
}

/// The command, which takes no further argument.
fn alone(mut parser: lexopt::Parser, command: Command) -> Result<Command, lexopt::Error> {
    parser.next()?.map_or(Ok(command), |argument| Err(argument.unexpected()))
}

/// The FILE of a command; `None` where help is asked for. One whose name begins with a dash stands behind `--`, or is
/// named by `./`.
fn file(parser: &mut lexopt::Parser, needed: &'static str) -> Result<Option<PathBuf>, lexopt::Error> {
    match parser.next()? {
        Some(Value(file)) => Ok(Some(file.into())),
        Some(Long("help") | Short('h')) => Ok(None),
        Some(other) => Err(other.unexpected()),
        None => Err(needed.into()),
    }
}

fn database() -> Result<DatabasePath, Failure> {
    Ok(DatabasePath::resolve(&Config::database_from_env()?)?)
}

fn version() -> String {
    format!("lyftr-webhook {VERSION} (commit {COMMIT}, SQLite {})\n", store::sqlite_version())
}

fn print_signature() -> Result<(), Failure> {
    let secret = Config::signing_secret()?
        .ok_or_else(|| Failure::new(EX_CONFIG, "WEBHOOK_SECRET is not set: nothing to sign with"))?;
    let mut body = Vec::new();
    Stdin
        .read_to_end(&mut body)
        .map_err(|error| Failure::new(EX_UNAVAILABLE, format!("cannot read the body from stdin: {error}")))?;
    print(&format!("{}\n", sign(&secret, &body)))
}
