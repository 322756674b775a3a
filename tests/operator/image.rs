//! The container image as `scripts/container` saves it, and containers of it, run by crun as
//! `scripts/compose.yaml` says.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::SECRET;
use crate::output::Lines;
use crate::skip::{can_mount, has, is_root};
use crate::tools::run;

/// Who the image says that the service is.
pub(crate) const USER: u32 = 65532;
const COMPOSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compose.yaml");
/// crun does without control groups here, but looks at them, and refuses where two versions of them are
/// mounted. This hides one from it, and from nobody else.
const CRUN: &str = "umount /sys/fs/cgroup/unified 2>/dev/null
exec crun --cgroup-manager=disabled --root \"$0\" \"$@\"";

/// The image, unpacked.
pub(crate) struct Image {
    folder: TempDir,
    /// What the image says of itself: user, environment, command.
    pub(crate) config: Value,
}

impl Image {
    /// Saved from the executable under test, once for all tests; `None` where the machine cannot make or run containers.
    pub(crate) fn new() -> Option<Self> {
        if !has(&["buildah", "crun", "docker-compose", "python3", "unshare"]) || !is_root() || !can_mount() {
            return None;
        }
        static SAVED: OnceLock<Vec<u8>> = OnceLock::new();
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let archive = folder.path().join("image.tar");
        let saved = SAVED.get_or_init(|| {
            save(&archive);
            fs::read(&archive).expect("it was saved")
        });
        fs::write(&archive, saved).expect("the folder is ours");
        let unpacked = folder.path().join("image");
        unpack(&archive, &unpacked);
        let manifest = read_json(&unpacked.join("manifest.json"));
        let file = manifest[0]["Config"].as_str().expect("an image has a configuration");
        let config = read_json(&unpacked.join(file))["config"].clone();
        for layer in manifest[0]["Layers"].as_array().expect("an image has layers") {
            let layer = layer.as_str().expect("a layer is a file");
            unpack(&unpacked.join(layer), &folder.path().join("root"));
        }
        Some(Self { folder, config })
    }

    /// The image in one file, as other machines load it.
    pub(crate) fn archive(&self) -> PathBuf {
        self.folder.path().join("image.tar")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// An empty folder of this user's, for a volume.
    pub(crate) fn volume(&self, name: &str, owner: u32) -> PathBuf {
        let volume = self.folder.path().join(name);
        fs::create_dir(&volume).expect("the folder is ours");
        chown(&volume, Some(owner), Some(owner)).expect("root may");
        volume
    }

    fn crun(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", CRUN]).arg(self.folder.path().join("containers"));
        command.stdin(Stdio::null());
        command
    }

    /// Starts a container of the service in the compose file, with a volume, on another port.
    pub(crate) fn start(&self, name: &str, volume: &Path, address: &str) -> Container<'_> {
        let bundle = self.folder.path().join(name);
        fs::create_dir(&bundle).expect("the folder is ours");
        let config = runtime_config(&self.config, &composed(), &self.root(), volume, address);
        fs::write(bundle.join("config.json"), config.to_string()).expect("the folder is ours");
        let mut command = self.crun();
        command.args(["run", "--bundle"]).arg(&bundle).arg(name);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare starts");
        let stdout = Lines::of(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Container { image: self, name: name.to_owned(), child, stdout, stderr }
    }
}

/// A container, running or ended.
pub(crate) struct Container<'a> {
    image: &'a Image,
    name: String,
    pub(crate) child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Container<'_> {
    fn ask(&self, arguments: &[&str]) -> Output {
        self.image.crun().args(arguments).output().expect("unshare starts")
    }

    /// The process of the service, as this machine numbers it.
    pub(crate) fn pid(&self) -> u32 {
        let state = self.ask(&["state", &self.name]);
        let state: Value = serde_json::from_slice(&state.stdout).unwrap_or_else(|_| panic!("{state:?}"));
        u32::try_from(state["pid"].as_u64().expect("a container has a process"))
            .expect("a process has a number")
    }

    pub(crate) fn signal(&self, name: &str) {
        let output = self.ask(&["kill", &self.name, name]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs another command inside, as the image's user, which an engine says to the runtime.
    pub(crate) fn exec(&self, command: &[&str]) -> Output {
        let user = format!("{USER}:{USER}");
        self.ask(&[&["exec", "--user", &user, &self.name], command].concat())
    }

    /// Runs the health check of the compose file inside.
    pub(crate) fn is_healthy(&self) -> bool {
        let check = strings(&composed()["healthcheck"]["test"]);
        let (form, command) = check.split_first().expect("a check is not empty");
        assert_eq!(form, "CMD", "no shell is in the image");
        self.exec(&command.iter().map(String::as_str).collect::<Vec<_>>()).status.success()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.ask(&["delete", "--force", &self.name]));
        drop(self.child.wait());
    }
}

fn save(archive: &Path) {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/container"));
    script.arg("--save").arg(archive).env("LYFTR_BIN", env!("CARGO_BIN_EXE_lyftr-webhook"));
    let saved = script.output().expect("scripts/container starts");
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
}

fn unpack(archive: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("the folder is ours");
    let (archive, folder) = (archive.display().to_string(), folder.display().to_string());
    let output = run("tar", &["--numeric-owner", "-xpf", &archive, "-C", &folder]);
    assert!(output.status.success(), "{output:?}");
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the archive holds it")).expect("it is JSON")
}

pub(crate) fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|value| value.as_str().expect("a string").to_owned()).collect()
}

/// What docker-compose makes of the compose file, with or without a secret in its environment.
pub(crate) fn compose(secret: Option<&str>) -> Output {
    let script = "config=$(docker-compose -f \"$0\" config) || exit
        printf %s \"$config\" | python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)'";
    let mut command = Command::new("sh");
    command.args(["-c", script, COMPOSE]).env_remove("WEBHOOK_SECRET");
    command.envs(secret.map(|secret| ("WEBHOOK_SECRET", secret)));
    command.output().expect("sh starts")
}

/// The service in the compose file.
pub(crate) fn composed() -> Value {
    let output = compose(Some(SECRET));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file: Value = serde_json::from_slice(&output.stdout).expect("docker-compose accepts the file");
    file["services"]["api"].clone()
}

/// The image and the compose file's wishes in a runtime's own words (OCI runtime specification, config.md).
/// The network is the machine's, so the port is the test's.
fn runtime_config(image: &Value, service: &Value, root: &Path, volume: &Path, address: &str) -> Value {
    let mut environment = strings(&image["Env"]);
    for (name, value) in service["environment"].as_object().expect("the service has an environment") {
        // Null is handed on where it is set, and otherwise left unset.
        environment.extend(value.as_str().map(|value| format!("{name}={value}")));
    }
    environment.push(format!("LISTEN_ADDR={address}"));
    assert_eq!(service["cap_drop"], json!(["ALL"]));
    let wished = service["ulimits"]["nofile"].as_u64().expect("the service needs descriptors");
    // Some machines let not even root have more than they were given.
    let descriptors = getrlimit(Resource::Nofile).maximum.map_or(wished, |most| most.min(wished));
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": mount_point(service), "type": "bind", "source": volume, "options": ["bind", "rw"]},
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": USER, "gid": USER},
            "args": strings(&image["Entrypoint"]),
            "env": environment,
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": strings(&service["security_opt"]).contains(&"no-new-privileges:true".to_owned()),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": descriptors, "soft": descriptors}],
        },
        "root": {"path": root, "readonly": service["read_only"]},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    })
}

/// Where the compose file puts its only volume: `data:/data:rw`, or an object with a `target`.
fn mount_point(service: &Value) -> String {
    let volume = &service["volumes"][0];
    let target = volume["target"].as_str().or_else(|| volume.as_str()?.split(':').nth(1));
    target.expect("the service has a volume").to_owned()
}
