//! The arguments of `follow` say where messages come from, where they go, and what becomes of those that are not
//! taken.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;

use crate::consumers::{MAX_NAME_CHARS, is_of_a_name};
use crate::follow::{MAX_BATCH_MESSAGES, Start};
use crate::http_client::Url;

/// Long enough for most programs, and short enough that one that hangs is noticed.
const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
const MAX_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;
const DEFAULT_NAME: &str = "follow";

/// Where batches go.
pub(super) enum Destination {
    Stdout,
    /// The command and its arguments.
    Exec(Vec<OsString>),
    Post(Url),
}

/// Where messages come from.
pub(super) enum Origin {
    Feed(FeedOptions),
    /// A file of dead letters.
    File(PathBuf),
}

pub(super) struct FeedOptions {
    /// `None` is the service of this machine.
    pub(super) url: Option<Url>,
    pub(super) state: PathBuf,
    pub(super) start: Start,
    pub(super) name: String,
    /// With what WhatsApp sent.
    pub(super) originals: bool,
}

/// What follows `follow`.
pub(in crate::cli) struct FollowOptions {
    pub(super) origin: Origin,
    pub(super) destination: Destination,
    pub(super) batch: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: Option<u32>,
    pub(super) dead_letters: Option<PathBuf>,
}

impl FollowOptions {
    /// `None` where help is asked for.
    pub(in crate::cli) fn parse(parser: &mut lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut url, mut state, mut start, mut name, mut file) = (None, None, None, None, None);
        let (mut batch, mut timeout, mut attempts, mut dead_letters) =
            (1, Duration::from_secs(DEFAULT_TIMEOUT_SECONDS), None, None);
        let mut destination = Destination::Stdout;
        let mut originals = false;
        while let Some(argument) = parser.next()? {
            match argument {
                Long("url") => url = Some(url_of(parser, "--url")?),
                Long("state") => state = Some(path(parser, "--state")?),
                Long("from") => start = Some(start_of(parser)?),
                Long("name") => name = Some(name_of(parser)?),
                Long("original") => originals = true,
                Long("from-file") => file = Some(path(parser, "--from-file")?),
                Long("batch") => batch = number(parser, "--batch", 1..=MAX_BATCH_MESSAGES as u64)? as usize,
                Long("timeout") => {
                    timeout = Duration::from_secs(number(parser, "--timeout", 1..=MAX_TIMEOUT_SECONDS)?);
                }
                Long("attempts") => {
                    attempts = Some(number(parser, "--attempts", 1..=u32::MAX.into())? as u32);
                }
                Long("dead-letters") => dead_letters = Some(path(parser, "--dead-letters")?),
                Long("exec") => destination = only(&destination, Destination::Exec(command(parser)?))?,
                Long("post") => {
                    destination = only(&destination, Destination::Post(url_of(parser, "--post")?))?;
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        let origin = match file {
            None => {
                let state = state.unwrap_or_else(|| default_state(name.as_deref().unwrap_or(DEFAULT_NAME)));
                let name = name.unwrap_or_else(|| name_from(&state));
                Origin::Feed(FeedOptions {
                    url,
                    state,
                    start: start.unwrap_or(Start::Beginning),
                    name,
                    originals,
                })
            }
            Some(_) if originals || url.is_some() || state.is_some() || start.is_some() || name.is_some() => {
                return Err(
                    "--from-file is read instead of a feed: it takes no --url, --state, --from, --name or --original"
                        .into(),
                );
            }
            Some(file) => Origin::File(file),
        };
        Ok(Some(Self { origin, destination, batch, timeout, attempts, dead_letters }))
    }
}

fn only(before: &Destination, next: Destination) -> Result<Destination, lexopt::Error> {
    match before {
        Destination::Stdout => Ok(next),
        Destination::Exec(_) | Destination::Post(_) => Err("messages go to one --exec or --post".into()),
    }
}

fn url_of(parser: &mut lexopt::Parser, option: &str) -> Result<Url, lexopt::Error> {
    let text = parser.value()?.string()?;
    Url::parse(&text).map_err(|takes| format!("{option} cannot be {text:?}: {takes}").into())
}

fn path(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, lexopt::Error> {
    let path = PathBuf::from(parser.value()?);
    match path.file_name() {
        Some(_) => Ok(path),
        None => Err(format!("{option} takes the name of a file").into()),
    }
}

fn start_of(parser: &mut lexopt::Parser) -> Result<Start, lexopt::Error> {
    match parser.value()?.to_str() {
        Some("beginning") => Ok(Start::Beginning),
        Some("now") => Ok(Start::Now),
        _ => Err("--from takes beginning or now".into()),
    }
}

fn name_of(parser: &mut lexopt::Parser) -> Result<String, lexopt::Error> {
    let name = parser.value()?.string()?;
    if (1..=MAX_NAME_CHARS).contains(&name.len()) && name.chars().all(is_of_a_name) {
        return Ok(name);
    }
    Err(format!("--name takes 1 to {MAX_NAME_CHARS} characters of a-z0-9._-").into())
}

fn number(
    parser: &mut lexopt::Parser,
    option: &str,
    range: RangeInclusive<u64>,
) -> Result<u64, lexopt::Error> {
    let value = parser.value()?;
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    let takes = || format!("{option} takes a whole number from {} to {}", range.start(), range.end());
    number.ok_or_else(|| takes().into())
}

/// All that follows belongs to the command.
fn command(parser: &mut lexopt::Parser) -> Result<Vec<OsString>, lexopt::Error> {
    let mut command = vec![parser.value()?];
    if command[0].is_empty() {
        return Err("--exec takes a command".into());
    }
    command.extend(parser.raw_args()?);
    Ok(command)
}

/// In the folder that systemd gives a unit for its state (systemd.exec(5)), or else in the current one.
fn default_state(name: &str) -> PathBuf {
    let folder = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
    Path::new(&folder).join(format!("{name}.state"))
}

/// Two followers with a state each have a name each, so that the service tells them apart.
fn name_from(state: &Path) -> String {
    let stem = state.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    stem.chars().take(MAX_NAME_CHARS).map(|c| if is_of_a_name(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<FollowOptions, String> {
        let arguments = line.split_whitespace().map(OsString::from);
        let options = FollowOptions::parse(&mut lexopt::Parser::from_args(arguments));
        options.map_err(|error| error.to_string())?.ok_or_else(|| "help".to_owned())
    }

    fn feed(line: &str) -> FeedOptions {
        match parse(line).unwrap().origin {
            Origin::Feed(options) => options,
            Origin::File(_) => panic!("{line}"),
        }
    }

    #[test]
    fn a_state_and_a_name_stand_for_each_other() {
        for (line, state, name) in [
            ("", "follow.state", "follow"),
            ("--name orders", "orders.state", "orders"),
            ("--state /var/lib/x/orders.state", "/var/lib/x/orders.state", "orders"),
            ("--state A/Été", "A/Été", "-t-"),
            ("--state a.state --name b", "a.state", "b"),
        ] {
            let options = feed(line);
            assert_eq!((options.state.as_path(), &*options.name), (Path::new(state), name), "{line}");
            assert!(options.name.chars().all(is_of_a_name));
        }
        assert_eq!(feed("").start, Start::Beginning);
        assert_eq!(feed("--from now").start, Start::Now);
        assert!(feed("--original").originals && !feed("").originals);
    }

    #[test]
    fn what_follows_exec_is_the_commands() {
        let options = parse("--batch 7 --exec ./script --url x -- --help").unwrap();
        assert_eq!((options.batch, options.timeout.as_secs(), options.attempts), (7, 30, None));
        let Destination::Exec(command) = options.destination else { panic!("a command") };
        assert_eq!(command, ["./script", "--url", "x", "--", "--help"]);
        let options =
            parse("--timeout 5 --attempts 3 --dead-letters d --post unix:/run/x.sock:/hook").unwrap();
        assert!(matches!(options.destination, Destination::Post(_)));
        assert_eq!((options.timeout.as_secs(), options.attempts), (5, Some(3)));
    }

    #[test]
    fn wrong_arguments_are_told_what_is_right() {
        for (line, said) in [
            ("--url 127.0.0.1:8000", "--url"),
            ("--post https://x", "TLS"),
            ("--batch 0", "--batch takes a whole number from 1 to 1000"),
            ("--batch 1001", "--batch"),
            ("--timeout 1.5", "--timeout"),
            ("--attempts 0", "--attempts"),
            ("--from yesterday", "beginning or now"),
            ("--name Orders", "--name"),
            ("--name", "name"),
            ("--state /", "--state takes"),
            ("--exec", "exec"),
            ("--post http://x --exec y", "one --exec or --post"),
            ("--from-file d --state s", "--from-file"),
            ("--from-file d --original", "--original"),
            ("file", "file"),
            ("--bogus", "bogus"),
            ("--batch 7 --help", "help"),
            ("-h", "help"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
