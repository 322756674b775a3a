//! Section 7: the description of the service agrees with the service.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::service::Service;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

#[track_caller]
fn description(service: &Service) -> Value {
    let answer = service.get("/openapi.json");
    let media_type = answer.expect(200).header("Content-Type").expect("a body has a type");
    assert!(media_type.starts_with("application/json"), "{media_type}");
    answer.json()
}

/// Every (method, path) of the description.
fn operations(description: &Value) -> BTreeSet<(String, String)> {
    let mut operations = BTreeSet::new();
    for (path, item) in description["paths"].as_object().expect("paths are an object") {
        for method in item.as_object().expect("a path is an object").keys() {
            if METHODS.contains(&method.as_str()) {
                operations.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    operations
}

fn every_value<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(values) => values.iter().for_each(|value| every_value(value, visit)),
        Value::Object(values) => values.values().for_each(|value| every_value(value, visit)),
        _ => {}
    }
}

#[test]
fn it_is_openapi_3_1() {
    let description = description(&Service::start());
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."), "{}", description["openapi"]);
    assert!(description["info"]["title"].is_string());
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn whatever_it_describes_is_there() {
    let service = Service::start();
    let operations = operations(&description(&service));
    assert!(!operations.is_empty());
    for (method, path) in operations {
        let status = service.request(&method, &path, &[]).status;
        assert!(status != 404 && status != 405, "{method} {path}: {status}");
    }
}

#[test]
fn whatever_is_there_it_describes() {
    let operations = operations(&description(&Service::start()));
    for (method, path) in [
        ("POST", "/webhook"),
        ("GET", "/messages"),
        ("GET", "/feed"),
        ("GET", "/stats"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/docs"),
    ] {
        assert!(
            operations.contains(&(method.to_owned(), path.to_owned())),
            "{method} {path} is not described"
        );
    }
}

#[test]
fn it_names_parameters_and_answers() {
    let description = description(&Service::start());
    let parameters = description["paths"]["/messages"]["get"]["parameters"].as_array().unwrap();
    let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
        Some(reference) => {
            description.pointer(reference.trim_start_matches('#')).cloned().unwrap_or_default()
        }
        None => parameter.clone(),
    };
    let parameters: Vec<Value> = parameters.iter().map(resolve).collect();
    for name in ["limit", "offset", "from", "since", "q", "after"] {
        assert!(
            parameters.iter().any(|parameter| parameter["name"] == name && parameter["in"] == "query"),
            "{name}"
        );
    }
    for (path, method, statuses) in [
        ("/webhook", "post", ["200", "401", "413", "415", "422", "503"].as_slice()),
        ("/messages", "get", &["200", "401", "422"]),
        ("/feed", "get", &["200", "401", "410", "422", "503"]),
        ("/stats", "get", &["200", "401", "422"]),
        ("/health/live", "get", &["200"]),
        ("/health/ready", "get", &["200", "503"]),
        ("/metrics", "get", &["200", "401"]),
    ] {
        let responses = &description["paths"][path][method]["responses"];
        for status in statuses {
            assert!(responses[status].is_object(), "{method} {path} {status} is not described");
        }
    }
}

#[test]
fn its_references_lead_somewhere() {
    let description = description(&Service::start());
    every_value(&description, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads outside"));
            assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    });
}

#[test]
fn the_docs_are_a_page_with_no_outside_resource() {
    let answer = Service::start().get("/docs");
    assert!(answer.expect(200).header("Content-Type").unwrap().starts_with("text/html"));
    let page = answer.text().to_lowercase();
    assert!(page.contains("<html") && page.contains("</html>"));
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        // A link leads away when it is followed; these are fetched.
        let fetches =
            ["script", "link", "img", "iframe", "object", "embed", "source", "video", "audio", "base"];
        if fetches
            .iter()
            .any(|name| tag.strip_prefix(name).is_some_and(|rest| rest.starts_with(char::is_whitespace)))
        {
            for outside in ["http:", "https:", "\"//", "'//", "=//"] {
                assert!(!tag.contains(outside), "<{tag}>");
            }
        }
    }
    for outside in ["@import", "url(http", "url(\"http", "url(//", "fetch(\"http", "fetch('http", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Written out, or fetched from the description beside it.
    assert!(page.contains("/webhook") || page.contains("openapi.json"));
}
