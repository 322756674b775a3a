//! `/proc/self` says what the `process_*` metrics tell of this process (proc(5)).
//!
//! Every figure is optional: a host without `/proc` loses the figure, not the scrape.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::LazyLock;

use rustix::param::{clock_ticks_per_second, page_size};

/// More than 52 numbers and a name of 64 bytes can take.
const MAX_STAT_BYTES: usize = 2048;

/// The standard figures of a Prometheus client library.
#[derive(Debug, Default, PartialEq)]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    pub virtual_bytes: Option<u64>,
    pub resident_bytes: Option<u64>,
    pub start_time_seconds: Option<f64>,
    pub threads: Option<u64>,
    pub open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

impl Process {
    /// Reads the figures as they are now.
    pub fn read() -> Self {
        let mut process = stat().map(|stat| Self::from_stat(&stat)).unwrap_or_default();
        let since_boot = process.start_time_seconds;
        process.start_time_seconds = since_boot.and_then(|seconds| Some(boot_time()? + seconds));
        process.open_fds = open_descriptors();
        process.max_fds = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        process
    }

    /// The start time is still counted from boot here.
    fn from_stat(stat: &str) -> Self {
        // The second field is the program's name in parentheses, which may hold anything.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return Self::default();
        };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts fields from 1 and `rest` begins with the third.
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        let seconds =
            |number: usize| field(number).map(|ticks| ticks as f64 / clock_ticks_per_second() as f64);
        Self {
            cpu_seconds: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
            threads: field(20),
            start_time_seconds: seconds(22),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page_size() as u64),
            ..Self::default()
        }
    }
}

/// One read gives all of it; the standard library would come back for more five times.
fn stat() -> io::Result<String> {
    let mut line = [0; MAX_STAT_BYTES];
    let length = File::open("/proc/self/stat")?.read(&mut line)?;
    Ok(String::from_utf8_lossy(&line[..length]).into_owned())
}

/// The size of the folder, which since Linux 6.2 is their number; before that it is 0, and they are counted.
fn open_descriptors() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => count_descriptors(),
        count => Some(count),
    }
}

fn count_descriptors() -> Option<u64> {
    // The entry by which the folder itself is being read is one too many.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// Read once: the file has a line for each processor.
fn boot_time() -> Option<f64> {
    static BOOT_TIME: LazyLock<Option<f64>> = LazyLock::new(read_boot_time);
    *BOOT_TIME
}

fn read_boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_behind_any_program_name() {
        let stat =
            "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 3000 10000000 512 184467";
        let process = Process::from_stat(stat);
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.threads, Some(9));
        assert_eq!(process.start_time_seconds, Some(30.0));
        assert_eq!(process.virtual_bytes, Some(10_000_000));
        assert_eq!(process.resident_bytes, Some(512 * page_size() as u64));
        assert_eq!(Process::from_stat("nonsense"), Process::default());
    }

    #[test]
    fn descriptors_are_counted_either_way() {
        // Other tests open and close some meanwhile.
        let _ours: Vec<_> = (0..300).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        for count in [open_descriptors(), count_descriptors()] {
            assert!(count.is_some_and(|count| (300..500).contains(&count)), "{count:?}");
        }
    }

    #[test]
    fn this_process_has_all_figures() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 0));
        assert!(process.open_fds.is_some_and(|fds| fds > 0));
        assert!(process.start_time_seconds.is_some_and(|time| time > 1e9));
    }
}
