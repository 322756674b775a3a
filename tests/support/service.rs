//! The real executable, running, and what a test asks of it.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use serde_json::{Value, json};

use super::fixtures::{SECRET, eventually, open_database, sign, signal};
use super::http_client::{Address, Answer, Client};
use super::output::Lines;
use super::setup::{Setup, Stdout, free_port, wait};

#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    setup: Option<Setup>,
    pub(crate) address: Address,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Setup {
    /// Started where the test knows that it answers, whatever `LISTEN_ADDR` says.
    #[track_caller]
    pub(crate) fn start_at(self, address: Address) -> Service {
        let mut service = Service::spawn(self, address);
        assert!(service.is_up(), "the service does not start: {}", service.stderr.to_the_end());
        service
    }

    #[track_caller]
    pub(crate) fn start(mut self) -> Service {
        let anywhere = || format!("127.0.0.1:{}", free_port());
        let listen = self.variables.entry("LISTEN_ADDR".to_owned()).or_insert_with(anywhere).clone();
        self.start_at(address_of(&listen))
    }
}

impl Service {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    fn spawn(mut setup: Setup, address: Address) -> Self {
        let mut child = setup.command(&["serve"]).spawn().expect("the executable starts");
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        let stdout = match setup.stdout {
            Stdout::Read => Lines::of(child.stdout.take().expect("stdout is a pipe")),
            Stdout::Unread | Stdout::Nowhere => Lines::default(),
        };
        Self { child, setup: Some(setup), address, stdout, stderr }
    }

    fn is_up(&mut self) -> bool {
        eventually("the service answers or ends", || {
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return Some(false);
            }
            let answer = Client::try_connect(&self.address)
                .and_then(|mut client| client.try_request("GET", "/health/live", &[], None));
            answer.is_ok_and(|answer| answer.status == 200).then_some(true)
        })
    }

    pub(crate) fn setup(&mut self) -> &mut Setup {
        self.setup.as_mut().expect("a service keeps its setup")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.setup.as_ref().expect("a service keeps its setup").path(name)
    }

    pub(crate) fn database(&self) -> rusqlite::Connection {
        open_database(&self.path("app.db"))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.connect().get(target)
    }

    #[track_caller]
    pub(crate) fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.connect().request(method, target, headers, None)
    }

    /// Signs these bytes and posts them as they are.
    #[track_caller]
    pub(crate) fn post_bytes(&self, body: &[u8]) -> Answer {
        self.post_signed(&[("X-Signature", &sign(SECRET, body))], body)
    }

    #[track_caller]
    pub(crate) fn post_under(&self, secret: &str, message: &Value) -> Answer {
        self.connect().post_under(secret, message)
    }

    #[track_caller]
    pub(crate) fn post_signed(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.connect().request("POST", "/webhook", headers, Some(body))
    }

    #[track_caller]
    pub(crate) fn post(&self, message: &Value) -> Answer {
        self.connect().post(message)
    }

    #[track_caller]
    pub(crate) fn store(&self, message: &Value) {
        let answer = self.post(message);
        assert_eq!(answer.expect(200).json(), json!({"status": "ok"}), "{message}");
    }

    /// The value of one series, written as the exposition writes it, or 0 where there is none yet.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").expect(200).text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a sample is a number"))
    }

    #[track_caller]
    pub(crate) fn results(&self, label: &str) -> f64 {
        self.metric(&result_series(label))
    }

    /// Waits until a series has this value: a request may be counted a moment after it was answered.
    #[track_caller]
    pub(crate) fn counted(&self, series: &str, value: f64) {
        eventually(&format!("{series} is {value}"), || (self.metric(series) == value).then_some(()));
    }

    #[track_caller]
    pub(crate) fn resulted(&self, label: &str, count: f64) {
        self.counted(&result_series(label), count);
    }

    /// The log line of one request.
    #[track_caller]
    pub(crate) fn logged(&self, answer: &Answer) -> Value {
        let id = answer.request_id();
        eventually(&format!("the request {id} is in the log"), || {
            self.stdout.json().into_iter().find(|line| line["request_id"] == id)
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Why the process is not there any more, if it is not.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        Some(format!("the process ended ({status}): {}", self.stderr.to_the_end()))
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Ends at once, as a power cut does, and hands back what it was started with.
    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().expect("the service is our child");
        self.wait();
        self.setup.take().expect("a service keeps its setup")
    }

    /// Asks for an orderly end and hands back what it was started with.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Setup {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0), "{}", self.stderr.to_the_end());
        self.setup.take().expect("a service keeps its setup")
    }

    /// The same port, folder and variables again.
    #[track_caller]
    pub(crate) fn restart(self) -> Self {
        self.stop().start()
    }

    /// Everything it wrote on stdout from start to end.
    #[track_caller]
    pub(crate) fn stop_and_read_log(mut self) -> String {
        self.signal("TERM");
        self.wait();
        self.stdout.to_the_end()
    }

    pub(crate) fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
    }
}

fn result_series(label: &str) -> String {
    format!("webhook_requests_total{{result=\"{label}\"}}")
}

fn address_of(listen: &str) -> Address {
    match listen.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")),
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
