//! A Prometheus server of a test's own, which scrapes one service as `scripts/prometheus.yaml` says.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::http_client::{Address, Client, encode};
use crate::recipes::{project_file, read, replaced};
use crate::service::Service;
use crate::setup::free_port;

pub(crate) const TOKEN: &str = "a token for scrapes";

/// A running Prometheus.
pub(crate) struct Prometheus {
    address: Address,
    daemon: Daemon,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes a service whose `API_TOKEN` is [`TOKEN`], five times a second, by the alerts of the project.
    pub(crate) fn of(service: &Service) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder for temporary files"), free_port());
        let path = |name: &str| folder.path().join(name);
        let Address::Tcp(target) = &service.address else { panic!("Prometheus speaks TCP") };
        let credentials = format!("  credentials_file: {}", path("token").display());
        let mut text = read("scripts/prometheus.yaml");
        for (what, with) in [
            ("# authorization:", "authorization:"),
            ("#   credentials_file: /etc/prometheus/lyftr-webhook.token", &credentials),
            ("127.0.0.1:8000", target),
            ("scrape_interval: 15s", "scrape_interval: 200ms\n  scrape_timeout: 200ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ] {
            text = replaced(&text, what, with);
        }
        fs::copy(project_file("scripts/alerts.yaml"), path("alerts.yaml")).expect("the folder is ours");
        fs::write(path("prometheus.yml"), text).expect("the folder is ours");
        fs::write(path("token"), TOKEN).expect("the folder is ours");
        let address = format!("127.0.0.1:{port}");
        let listen = format!("--web.listen-address={address}");
        let arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", listen.as_str()];
        let daemon = Daemon::start("prometheus", &arguments, folder.path());
        let mut prometheus = Self { address: Address::Tcp(address), daemon, _folder: folder };
        let address = prometheus.address.clone();
        prometheus.daemon.until("Prometheus is ready", || {
            let mut client = Client::try_connect(&address).ok()?;
            client.try_request("GET", "/-/ready", &[], None).ok().filter(|answer| answer.status == 200)
        });
        prometheus
    }

    /// The `data` of an answer of the HTTP API, which has to be a success without warnings.
    #[track_caller]
    pub(crate) fn api(&self, target: &str) -> Value {
        let answer = Client::connect(&self.address).get(target).json();
        assert_eq!(answer["status"], "success", "{target}: {answer}");
        assert_eq!(answer["warnings"], Value::Null, "{target}: {answer}");
        answer["data"].clone()
    }

    /// What a query comes to now: labels and value of each element.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.api(&format!("/api/v1/query?query={}", encode(expression)));
        assert_eq!(data["resultType"], "vector", "{expression}");
        let value = |element: &Value| element["value"][1].as_str().and_then(|text| text.parse().ok());
        let elements = data["result"].as_array().expect("a vector is a list").iter();
        elements
            .map(|element| (element["metric"].clone(), value(element).expect("a value is a number")))
            .collect()
    }

    /// The value of a query that has one.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> f64 {
        match self.query(expression).as_slice() {
            [(_, value)] => *value,
            other => panic!("{expression} has {} values: {other:?}", other.len()),
        }
    }

    /// Waits until a query has this value and no other.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str, value: f64) {
        let address = self.address.clone();
        self.daemon.until(&format!("{expression} is {value}"), || {
            let target = format!("/api/v1/query?query={}", encode(expression));
            let answer = Client::connect(&address).get(&target).json();
            let result = &answer["data"]["result"];
            let is = |element: &Value| {
                element["value"][1].as_str().and_then(|text| text.parse().ok()) == Some(value)
            };
            (result.as_array().map(Vec::len) == Some(1) && is(&result[0])).then_some(())
        });
    }

    /// The state of an alert: `inactive`, `pending` or `firing`.
    #[track_caller]
    pub(crate) fn until_alert(&mut self, name: &str, state: &str) {
        let address = self.address.clone();
        self.daemon.until(&format!("{name} is {state}"), || {
            let rules = Client::connect(&address).get("/api/v1/rules").json();
            let rules = rules["data"]["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
            rules.into_iter().any(|rule| rule["name"] == name && rule["state"] == json!(state)).then_some(())
        });
    }
}
