//! Headless Chromium, driven as its own developer tools drive it
//! (chromedevtools.github.io/devtools-protocol), over two pipes.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{eventually, from_base64};
use crate::tools::run;

/// Generous, since it bounds only how long a failure takes to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with a profile of its own.
pub(crate) struct Browser {
    child: Child,
    to: RefCell<ChildStdin>,
    from: Receiver<Value>,
    calls: Cell<u64>,
    /// What pages complained of: exceptions, and what their policy forbade.
    complaints: RefCell<Vec<String>>,
    _profile: TempDir,
}

/// One tab.
pub(crate) struct Tab<'a> {
    browser: &'a Browser,
    session: String,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = TempDir::new().expect("the machine has a folder for temporary files");
        // The browser reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh", "chromium"])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own, so that all its processes can be ended together.
            .process_group(0)
            .spawn()
            .expect("the browser starts");
        let to = RefCell::new(child.stdin.take().expect("stdin is a pipe"));
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, from) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while stdout.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
                message.pop();
                let message = serde_json::from_slice(&std::mem::take(&mut message));
                if message.map(|message: Value| sender.send(message)).is_err() {
                    return;
                }
            }
        });
        Self { child, to, from, calls: Cell::new(0), complaints: RefCell::default(), _profile: profile }
    }

    pub(crate) fn open(&self, url: &str) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call(None, "Target.attachToTarget", &attach)["sessionId"].clone();
        let tab = Tab { browser: self, session: session.as_str().expect("a session has a name").to_owned() };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            tab.call(domain, &json!({}));
        }
        tab.window(1100, 900);
        tab.go(url);
        tab
    }

    /// What pages complained of so far; nothing is expected.
    pub(crate) fn complaints(&self) -> Vec<String> {
        while let Ok(message) = self.from.try_recv() {
            self.note(&message);
        }
        self.complaints.borrow().clone()
    }

    fn note(&self, message: &Value) {
        let complaint = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => &message["params"]["exceptionDetails"],
            // A status that is no success is reported from the network, and belongs to some tests.
            Some("Log.entryAdded") if message["params"]["entry"]["source"] != "network" => {
                &message["params"]["entry"]
            }
            Some("Page.javascriptDialogOpening") => &message["params"],
            _ => return,
        };
        self.complaints.borrow_mut().push(complaint.to_string());
    }

    #[track_caller]
    fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let id = self.calls.replace(self.calls.get() + 1);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let bytes = [message.to_string().as_bytes(), b"\0"].concat();
        self.to.borrow_mut().write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.from.recv_timeout(PATIENCE);
            let mut answer = answer.unwrap_or_else(|error| panic!("{method} got no answer: {error}"));
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.note(&answer);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(run("kill", &["-KILL", "--", &format!("-{}", self.child.id())]));
        drop(self.child.wait());
    }
}

impl Tab<'_> {
    #[track_caller]
    fn call(&self, method: &str, parameters: &Value) -> Value {
        self.browser.call(Some(&self.session), method, parameters)
    }

    /// Loads a page, and returns when its script has run.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        self.until(
            "the page is loaded",
            &format!("document.readyState === 'complete' && location.href.startsWith('{url}')"),
        );
    }

    #[track_caller]
    pub(crate) fn reload(&self) {
        self.evaluate("globalThis.isOld = true");
        self.call("Page.reload", &json!({}));
        self.until("the page is loaded again", "!globalThis.isOld && document.readyState === 'complete'");
    }

    /// What an expression is worth, in the page.
    #[track_caller]
    pub(crate) fn evaluate(&self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut found = self.call("Runtime.evaluate", &parameters);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {}", found["exceptionDetails"]);
        found["result"]["value"].take()
    }

    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.evaluate(&format!("document.querySelector({}).innerText", json!(selector)));
        found.as_str().expect("an element has text").to_owned()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, expression: &str) {
        let parameters = json!({"expression": expression, "returnByValue": true});
        eventually(what, || {
            // While a page is being loaded there is none to ask.
            let found = self.call("Runtime.evaluate", &parameters);
            (found["result"]["value"] == true).then_some(())
        });
    }

    /// Presses and releases a key: `Tab`, `Enter`, `ArrowLeft`…
    pub(crate) fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "End" => 35,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            other => panic!("{other} has no code here"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn enter(&self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    pub(crate) fn window(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// A picture of the whole page, in the folder that cargo has for what tests leave.
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let shot = json!({"format": "png", "captureBeyondViewport": true});
        let png = from_base64(
            self.call("Page.captureScreenshot", &shot)["data"].as_str().expect("a picture comes as text"),
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, png).expect("the folder is ours");
        path
    }
}
