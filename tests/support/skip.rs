//! A test that this machine cannot run is skipped aloud.
//!
//! The reason goes to stderr past the capture of the test harness, and to the file that `SKIPPED_TESTS` names, which
//! `scripts/test` counts. With `STRICT=1` a program that is missing fails the test instead, unless `UNAVAILABLE`
//! names it: what the caller has tried to install in vain.

use std::env;
use std::fmt::{self, Display};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::Command;

/// What a machine may lack and no package brings: the only reasons for a skip with `STRICT=1`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lack {
    Root,
    /// A container without CAP_SYS_PTRACE.
    Tracing,
    /// A container without CAP_SYS_ADMIN.
    Mounts,
    /// A container without CAP_SYS_ADMIN or CAP_NET_ADMIN.
    Namespaces,
    /// overlayfs and tmpfs know no such flag.
    ImmutableFiles,
    /// The vDSO of one process is patched, whose machine code is that of x86-64.
    ClockOfOneProcess,
    Ipv6,
    /// Process 1 of namespaces of its own takes root, control groups, and mounts.
    Systemd,
    /// No network, or none that leads to a mirror of Debian.
    Debian,
}

impl Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "it takes root",
            Self::Tracing => "no process may be traced here",
            Self::Mounts => "no file system can be mounted here",
            Self::Namespaces => "no network of its own can be made here",
            Self::ImmutableFiles => "no file can be made immutable here",
            Self::ClockOfOneProcess => "the clock of one process cannot be set here",
            Self::Ipv6 => "the machine has no IPv6",
            Self::Systemd => "systemd cannot be booted in namespaces here",
            Self::Debian => "no Debian can be fetched from here",
        })
    }
}

/// Whether all of these programs, of which each is a name on `PATH` or a path, are here.
#[track_caller]
pub(crate) fn has(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // An absolute path takes the place of the folder that it is joined to.
    let is_here = |program: &&&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let Some(missing) = programs.iter().find(|program| !is_here(program)) else {
        return true;
    };
    let strict = env::var_os("STRICT").is_some_and(|value| value == "1");
    let unavailable =
        env::var("UNAVAILABLE").is_ok_and(|names| names.split(' ').any(|name| name == *missing));
    assert!(!strict || unavailable, "{missing} is not installed, and nothing may be skipped");
    skip(&format!("{missing} is not installed"));
    false
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        lacks(Lack::Root);
    }
    root
}

/// Whether this process may mount something, tried where nobody else sees it.
pub(crate) fn can_mount() -> bool {
    let mount = ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"];
    let tried = Command::new("unshare").args(mount).output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        lacks(Lack::Mounts);
    }
    can
}

/// Says that the machine lacks something; the test ends here.
pub(crate) fn lacks(lack: Lack) {
    skip(&lack.to_string());
}

/// The same with what the machine itself said of it.
pub(crate) fn lacks_because(lack: Lack, said: &[u8]) {
    skip(&format!("{lack}: {}", String::from_utf8_lossy(said).trim().replace('\n', "; ")));
}

fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {reason}\n");
    // Not by eprint, which is shown only where a test fails.
    io::stderr().write_all(line.as_bytes()).expect("stderr can be written");
    if let Some(file) = env::var_os("SKIPPED_TESTS") {
        let mut file = OpenOptions::new().append(true).create(true).open(file).expect("scripts/test made it");
        file.write_all(line.as_bytes()).expect("scripts/test made it");
    }
}
