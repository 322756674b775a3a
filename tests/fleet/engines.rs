//! PostgreSQL and nats-server, each on a machine and a disk of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Stdio};

use crate::disk::Disk;
use crate::fixtures::{eventually, signal};
use crate::machine::Machine;
use crate::setup::wait;

/// Where Debian has what is on no `PATH`.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
pub(crate) const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";
/// Whom PostgreSQL runs as: it refuses root.
const NOBODY: u32 = 65534;

pub(crate) struct Postgres {
    pub(crate) machine: Machine,
    pub(crate) disk: Disk,
    process: Option<Child>,
}

impl Postgres {
    pub(crate) fn new(disk: Disk) -> Self {
        let machine = Machine::new("postgres", "10.0.0.21");
        let data = disk.folder.join("data");
        fs::create_dir(&data).expect("the disk is ours");
        chown(&data, Some(NOBODY), Some(NOBODY)).expect("root may");
        let mut postgres = Self { machine, disk, process: None };
        let made = postgres
            .command(
                "initdb",
                &["--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync"],
            )
            .output()
            .expect("nsenter starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hba = "local all all trust\nhost all all 10.0.0.0/24 trust\n";
        fs::write(data.join("pg_hba.conf"), hba).expect("the disk is ours");
        postgres.start();
        eventually("PostgreSQL answers", || postgres.psql("SELECT 1").ok());
        postgres
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.machine.command("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
        command
            .arg(format!("{PROGRAMS}/{program}"))
            .arg("-D")
            .arg(self.disk.folder.join("data"))
            .args(arguments);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.disk.folder.with_extension("log"));
        let log = log.expect("the folder is ours");
        let socket = format!("unix_socket_directories={}", self.disk.folder.display());
        let arguments = ["-c", "listen_addresses=*", "-c", "max_wal_size=256MB", "-c", &socket];
        let mut command = self.command("postgres", &arguments);
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("nsenter starts"));
    }

    /// `pg_ctl stop -m immediate`: what is in memory is lost.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            if process.try_wait().expect("a child can be waited for").is_none() {
                signal(process.id(), "QUIT");
            }
            wait(&mut process);
        }
    }

    /// Starts it again if it has ended by itself, as it does where it cannot write its log ahead.
    pub(crate) fn revive(&mut self) -> Option<String> {
        let process = self.process.as_mut()?;
        let status = process.try_wait().expect("a child can be waited for")?;
        self.start();
        Some(format!("PostgreSQL: {status}"))
    }

    /// What it answers to a statement, row by row.
    pub(crate) fn psql(&self, statement: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &self.machine.address,
            "-U",
            "postgres",
            "-c",
            statement,
        ]);
        let output = command.env("PGCONNECT_TIMEOUT", "5").output().expect("psql starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) struct Nats {
    pub(crate) machine: Machine,
    disk: Disk,
    process: Option<Child>,
}

impl Nats {
    pub(crate) fn new(disk: Disk) -> Self {
        let machine = Machine::new("nats", "10.0.0.22");
        let configuration = format!(
            "listen: \"0.0.0.0:4222\"\njetstream {{ store_dir: \"{}\" }}\n",
            disk.folder.join("js").display()
        );
        fs::write(disk.folder.join("nats.conf"), configuration).expect("the disk is ours");
        let mut nats = Self { machine, disk, process: None };
        nats.start();
        eventually("nats-server listens", || TcpStream::connect(nats.address()).ok());
        nats
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:4222", self.machine.address)
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.disk.folder.with_extension("log"));
        let mut command = self.machine.command("nats-server");
        command.arg("-c").arg(self.disk.folder.join("nats.conf")).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.stderr(log.expect("the folder is ours")).spawn().expect("nsenter starts");
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            wait(&mut process);
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
