//! The Debian package: made from the executable, judged by Debian's own tools, and put into a small Debian.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::recipes::read;
use crate::scratch::{Root, program};
use crate::skip::has;
use crate::tools::run;

/// A package in a folder of its own.
struct Package {
    folder: TempDir,
    file: PathBuf,
}

impl Package {
    /// Made by `scripts/package` from the executable under test, once for all tests.
    fn new() -> Option<Self> {
        static MADE: OnceLock<Option<(OsString, Vec<u8>)>> = OnceLock::new();
        let read = |made: Self| {
            let name = made.file.file_name().expect("a file has a name").to_owned();
            (name, fs::read(&made.file).expect("it was made"))
        };
        let (name, bytes) = MADE.get_or_init(|| Self::made().map(read)).as_ref()?;
        let folder = temporary();
        let file = folder.path().join(name);
        fs::write(&file, bytes).expect("the folder is ours");
        Some(Self { folder, file })
    }

    fn made() -> Option<Self> {
        if !has(&["dpkg-deb", "strip"]) {
            return None;
        }
        let folder = temporary();
        // Whatever the umask of whoever makes it, of whom it is told nothing.
        let mut script = Command::new("sh");
        let package = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/package");
        script.args(["-c", r#"umask 077; exec "$0" "$@""#, package]);
        script.arg(folder.path()).env("LYFTR_BIN", env!("CARGO_BIN_EXE_lyftr-webhook"));
        let made = succeeded(&script.output().expect("scripts/package starts"));
        let file = PathBuf::from(made.trim_end());
        assert!(file.is_file(), "{made:?} is all that scripts/package says on stdout");
        Some(Self { folder, file })
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("a temporary path is UTF-8")
    }

    /// Its files, without being installed.
    fn unpack(&self) -> PathBuf {
        let root = self.folder.path().join("root");
        succeeded(&run("dpkg-deb", &["-x", self.file(), &root.display().to_string()]));
        root
    }

    fn field(&self, name: &str) -> String {
        succeeded(&run("dpkg-deb", &["-f", self.file(), name])).trim().to_owned()
    }
}

fn temporary() -> TempDir {
    TempDir::new().expect("the machine has a folder for temporary files")
}

/// What it wrote on stdout.
#[track_caller]
fn succeeded(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

#[test]
fn the_same_executable_gives_the_same_package() {
    let Some(first) = Package::new() else { return };
    let Some(second) = Package::made() else { return };
    assert_eq!(first.file.file_name(), second.file.file_name());
    assert!(fs::read(&first.file).unwrap() == fs::read(&second.file).unwrap());
    let version = env!("CARGO_PKG_VERSION");
    assert!(first.field("Version").starts_with(version), "{}", first.field("Version"));
    let said =
        succeeded(&run(&first.unpack().join("usr/bin/lyftr-webhook").display().to_string(), &["--version"]));
    assert_eq!(said, succeeded(&run(program(), &["--version"])));
}

#[test]
fn lintian_finds_no_error_in_the_package() {
    if !has(&["lintian"]) {
        return;
    }
    let Some(package) = Package::new() else { return };
    let verdict = succeeded(&run("lintian", &["--allow-root", "--fail-on", "error", package.file()]));
    assert!(!verdict.contains("unused-override") && !verdict.contains("mismatched-override"), "{verdict}");
}

#[test]
fn it_brings_what_watches_the_service_and_each_file_names_the_others_where_they_are() {
    let Some(package) = Package::new() else { return };
    let root = package.unpack();
    let examples = "/usr/share/doc/lyftr-webhook/examples";
    let shared = "/usr/share/lyftr-webhook";
    for name in [
        "alerts.yaml",
        "dashboard.json",
        "logs.md",
        "nats.md",
        "postgres.md",
        "prometheus.yaml",
        "proxies.md",
    ] {
        let text = fs::read_to_string(root.join(&examples[1..]).join(name)).unwrap();
        let mut expected = read(&format!("scripts/{name}"));
        for file in ["to-nats", "to-postgres", "postgres-questions.sql"] {
            assert!(root.join(&shared[1..]).join(file).is_file(), "{file}");
            expected = expected.replace(&format!("scripts/{file}"), &format!("{shared}/{file}"));
        }
        assert_eq!(text, expected.replace("scripts/", &format!("{examples}/")));
        for rest in text.split(&format!("{examples}/")).skip(1) {
            let other: String =
                rest.chars().take_while(|at| at.is_ascii_alphanumeric() || *at == '.').collect();
            let other = other.trim_end_matches('.');
            assert!(root.join(&examples[1..]).join(other).is_file(), "{name} names {other}");
        }
    }
}

#[test]
fn the_script_that_plays_meta_runs_from_the_package() {
    let Some(package) = Package::new() else { return };
    let script = package.unpack().join("usr/share/doc/lyftr-webhook/examples/whatsapp-sample");
    let usage = succeeded(&run(script.to_str().expect("a path in UTF-8"), &["--help"]));
    assert!(usage.starts_with("usage: whatsapp-sample "), "{usage}");
}

#[test]
fn the_script_that_loads_postgresql_runs_from_the_package() {
    let Some(package) = Package::new() else { return };
    let script = package.unpack().join("usr/share/lyftr-webhook/to-postgres");
    let usage = succeeded(&run(script.to_str().expect("a path in UTF-8"), &["--help"]));
    assert!(usage.starts_with("usage: lyftr-webhook follow --batch 500 --exec to-postgres"), "{usage}");
}

#[test]
fn the_script_that_publishes_to_nats_runs_from_the_package() {
    let Some(package) = Package::new() else { return };
    let script = package.unpack().join("usr/share/lyftr-webhook/to-nats");
    let usage = succeeded(&run(script.to_str().expect("a path in UTF-8"), &["--help"]));
    assert!(usage.starts_with("usage: lyftr-webhook follow "), "{usage}");
}

#[test]
fn the_manual_page_is_well_formed() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lyftr-webhook.8");
    if has(&["mandoc"]) {
        succeeded(&run("mandoc", &["-T", "lint", "-W", "warning", page]));
    }
    if has(&["groff"]) {
        let output = run("groff", &["-w", "w", "-mandoc", "-T", "utf8", page]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn systemd_accepts_the_packaged_units() {
    let targets = "/usr/lib/systemd/system";
    if !has(&["systemd-analyze", &format!("{targets}/sysinit.target")]) {
        return;
    }
    let Some(package) = Package::new() else { return };
    let root = package.unpack();
    let units = root.join("usr/lib/systemd/system");
    let ours: Vec<_> = fs::read_dir(&units).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // What every unit hangs on; the machine's own do.
    for entry in fs::read_dir(targets).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "target") && path.is_file() {
            fs::copy(&path, units.join(path.file_name().unwrap())).unwrap();
        }
    }
    for unit in &ours {
        // Another program that it runs is another package's, and no unit is accepted without it.
        let text = fs::read_to_string(units.join(unit)).unwrap();
        let programs = text.lines().filter(|line| line.starts_with("Exec")).filter_map(|line| {
            line.split_once('=')?.1.trim_start_matches(['-', '+', '!', ':']).split_whitespace().next()
        });
        for program in programs {
            let place = root.join(program.trim_start_matches('/'));
            if !place.exists() {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::copy(program, place).unwrap_or_else(|error| panic!("{unit:?} runs {program}: {error}"));
            }
        }
        let root = format!("--root={}", root.display());
        let output = run("systemd-analyze", &[&root, "--man=no", "verify", unit.to_str().unwrap()]);
        let said = succeeded(&output) + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "{unit:?}");
    }
}

#[test]
fn a_debian_takes_the_package_runs_it_and_keeps_what_is_the_operators() {
    let Some(root) = Root::new() else { return };
    let Some(package) = Package::new() else { return };
    let install = || {
        fs::copy(&package.file, root.path("/tmp/lyftr.deb")).unwrap();
        succeeded(&root.run(&["dpkg", "--install", "/tmp/lyftr.deb"]));
    };
    let settings = root.path("/etc/lyftr-webhook/environment");
    let enabled = root.path("/etc/systemd/system/multi-user.target.wants/lyftr-webhook.service");
    let binary = root.path("/usr/bin/lyftr-webhook");
    let database = root.path("/var/lib/lyftr-webhook/app.db");

    install();
    assert!(enabled.is_symlink(), "it starts at boot");
    let secret = root.secret();
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");
    assert_eq!(root.mode("/etc/lyftr-webhook/webhook_secret"), 0o600);
    assert_eq!(root.mode("/etc/lyftr-webhook/environment"), 0o600, "a token may be in it");
    root.serve(|service| {
        service.post("m1").expect(200);
        assert_eq!(service.total(), 1);
    });

    // An upgrade keeps what the operator has changed.
    fs::write(&settings, "LOG_LEVEL=DEBUG\n").unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o640)).unwrap();
    install();
    assert_eq!(root.mode("/etc/lyftr-webhook/environment"), 0o600);
    assert_eq!(fs::read_to_string(&settings).unwrap(), "LOG_LEVEL=DEBUG\n");
    assert_eq!(root.secret(), secret);

    succeeded(&root.run(&["dpkg", "--remove", "lyftr-webhook"]));
    assert!(!binary.exists() && !root.path("/usr/lib/systemd/system/lyftr-webhook.service").exists());
    assert!(settings.exists() && database.exists());
    assert_eq!(root.secret(), secret);

    install();
    root.serve(|service| {
        assert_eq!(service.total(), 1, "it goes on where it was");
        service.post("m2").expect(200);
    });

    let said = succeeded(&root.run(&["dpkg", "--purge", "lyftr-webhook"]));
    assert!(said.contains("/var/lib/lyftr-webhook"), "it says where the messages are: {said}");
    assert!(!settings.parent().unwrap().exists() && !enabled.is_symlink() && !binary.exists());
    let count = |database: &rusqlite::Connection| {
        database.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&crate::fixtures::open_database(&database)), 2, "nobody else has them any more");
}
