//! The contract, section by section, asked of the real executable over real sockets.

mod acceptance;
mod answers;
mod backup;
mod check;
mod client;
mod command_line;
mod concurrency;
mod configuration;
mod creation;
mod end_of_life;
mod erase;
mod export;
mod fairness;
mod feed;
mod feed_model;
mod feed_waiting;
mod health;
mod hosts;
mod http;
mod http_malformed;
mod import;
mod index;
mod lifecycle;
mod links;
mod logs;
mod manual;
mod messages;
mod messages_paging;
mod messages_search;
mod metrics;
mod metrics_of_trouble;
mod openapi;
mod outsiders;
mod page;
mod properties;
mod recovery;
mod refusals;
mod reload;
mod restarts;
mod restore;
mod retention;
mod settings;
mod stats;
mod storage;
mod supervisor;
#[allow(dead_code, reason = "other suites use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod unix_socket;
mod webhook;
mod webhook_content;
mod webhook_fields;
mod webhook_signature;
mod webhook_validation;

use support::*;
