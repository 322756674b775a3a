//! What the figures were measured on, in one line that stands beside them.

use std::fs;
use std::path::Path;
use std::thread;

use crate::figures::short;

/// Processor, cores, memory, kernel, and the file system that the stores are on.
pub(crate) fn describe(stores: &Path) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {} GB of memory", short(kib * 1024.0 / 1e9)));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let file_system = file_system(stores).unwrap_or_else(|| "unknown".to_owned());
    format!("{cpu}, {cores} cores{memory}, Linux {}, {file_system}", kernel.trim())
}

/// What else keeps the machine at work, if that is more than a little: processes, on average.
pub(crate) fn busy() -> Option<f64> {
    let load: f64 = fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()?;
    (load > 0.3).then_some(load)
}

/// The value behind `name` and a colon, as the files under /proc have it.
pub(crate) fn field(path: impl AsRef<Path>, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The type of the mount that holds the path: the longest that is a part of it, and of several
/// mounted over each other the last.
fn file_system(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        path.starts_with(point).then_some((point.len(), kind))
    });
    mounted.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}
