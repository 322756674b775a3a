//! A probe asks the service on this machine for one path, within a time.

use std::time::{Duration, Instant};

use rustix::net::SocketAddrAny;

use crate::http_client::{ClientRequest, ClientResponse, HttpClient, HttpClientError, HttpEndpoint};

/// The answer of the first address at which somebody listens. All of it, connecting included, may take `timeout`.
pub(super) fn get(
    addresses: &[SocketAddrAny],
    path: &str,
    request_id: &str,
    timeout: Duration,
) -> Result<ClientResponse, HttpClientError> {
    let deadline = Instant::now() + timeout;
    let headers = [("X-Request-ID", request_id.to_owned()), ("Connection", "close".to_owned())];
    let request = ClientRequest { method: "GET", target: path, headers: &headers, body: b"" };
    HttpClient::new(HttpEndpoint::Local(addresses.to_vec())).judging_by_status().send(&request, deadline)
}
