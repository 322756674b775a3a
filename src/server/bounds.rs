//! Bounds limit what clients may take of the machine, as far as an operator may set it.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub request_timeout: Duration,
    pub idle_timeout: Duration,
}
