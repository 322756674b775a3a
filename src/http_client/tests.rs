//! The client is tried against servers that answer as they should not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::*;

/// Long enough for a busy machine: nothing here waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// For servers that never answer.
const IMPATIENCE: Duration = Duration::from_millis(100);

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// The head and body of one request; `None` where the client has closed.
fn receive(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

/// A server that gives each connection, and its number, to `serve`.
fn server(serve: impl Fn(usize, TcpStream) + Send + 'static) -> HttpEndpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    HttpEndpoint::Tcp { host: "127.0.0.1".to_owned(), port }
}

/// One that answers every request of every connection with `answer`.
fn answering(answer: impl Into<Vec<u8>>) -> HttpEndpoint {
    let answer = answer.into();
    server(move |_, mut stream| {
        while receive(&mut stream).is_some() {
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

const GET: ClientRequest<'_> =
    ClientRequest { method: "GET", target: "/feed?limit=1", headers: &[], body: b"" };

fn within(patience: Duration) -> Instant {
    Instant::now() + patience
}

fn get(client: &mut HttpClient) -> Result<ClientResponse, HttpClientError> {
    client.send(&GET, within(PATIENCE))
}

/// Closes with a reset instead of an end.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_request_says_what_it_has_to() {
    let (tell, told) = std::sync::mpsc::channel();
    let endpoint = server(move |_, mut stream| {
        while let Some(request) = receive(&mut stream) {
            tell.send(request).unwrap();
            stream.write_all(GOOD.as_bytes()).unwrap();
        }
    });
    let host = endpoint.authority();
    let mut client = HttpClient::new(endpoint);
    let headers = [("X-Signature", "ab".to_owned())];
    let post = ClientRequest { method: "POST", target: "/hook", headers: &headers, body: b"{}" };
    client.send(&post, within(PATIENCE)).unwrap();
    get(&mut client).unwrap();
    client.send(&ClientRequest { body: b"", headers: &[], ..post }, within(PATIENCE)).unwrap();
    assert_eq!(
        told.iter().take(3).collect::<Vec<_>>(),
        [
            format!(
                "POST /hook HTTP/1.1\r\nHost: {host}\r\nX-Signature: ab\r\nContent-Length: 2\r\n\r\n{{}}"
            ),
            format!("GET /feed?limit=1 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("POST /hook HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"),
        ]
    );
    let smuggled = [("X-Id", "a\r\nX-Other: b".to_owned())];
    let refused = client.send(&ClientRequest { headers: &smuggled, ..post }, within(PATIENCE));
    assert!(matches!(refused, Err(HttpClientError::Malformed(_))));
}

#[test]
fn a_connection_is_kept_and_one_that_was_closed_is_replaced() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    // Two answers for each connection, of which the second is closed afterwards without a word.
    let endpoint = server(|_, mut stream| {
        for _ in 0..2 {
            if receive(&mut stream).is_some() {
                REQUESTS.fetch_add(1, SeqCst);
                stream.write_all(GOOD.as_bytes()).unwrap();
            }
        }
    });
    let mut client = HttpClient::new(endpoint);
    for _ in 0..20 {
        assert_eq!(get(&mut client).unwrap().body, b"hello");
    }
    assert_eq!(REQUESTS.load(SeqCst), 20);
}

#[test]
fn a_request_is_repeated_where_nothing_of_an_answer_came_and_only_there() {
    // The first connection answers once, then takes a second request and ends; by `how` with or without a byte.
    let ending = |how: fn(&mut TcpStream)| {
        server(move |number, mut stream| {
            receive(&mut stream);
            stream.write_all(GOOD.as_bytes()).unwrap();
            if number == 0 {
                receive(&mut stream);
                how(&mut stream);
            } else {
                receive(&mut stream);
            }
        })
    };
    for how in [(|_| {}) as fn(&mut TcpStream), |stream| reset(stream)] {
        let mut client = HttpClient::new(ending(how));
        assert_eq!(get(&mut client).unwrap().status, 200);
        assert_eq!(get(&mut client).unwrap().status, 200, "by a connection of its own");
    }
    let mut client = HttpClient::new(ending(|stream| stream.write_all(b"HTTP/1.1 2").unwrap()));
    assert_eq!(get(&mut client).unwrap().status, 200);
    assert!(matches!(get(&mut client), Err(HttpClientError::Closed)));
    assert_eq!(get(&mut client).unwrap().status, 200, "the next one begins anew");
    // A fresh connection that ends at once is no kept one: nothing is repeated.
    let mut client = HttpClient::new(server(|_, mut stream| drop(receive(&mut stream))));
    assert!(matches!(get(&mut client), Err(HttpClientError::Closed)));
}

#[test]
fn silence_and_slow_bytes_end_by_the_deadline() {
    let held = |how: fn(&mut TcpStream)| {
        server(move |_, mut stream| {
            receive(&mut stream);
            how(&mut stream);
        })
    };
    let other = |stream: &mut TcpStream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        receive(stream);
    };
    let silent = |stream: &mut TcpStream| drop(receive(stream));
    let drip = |stream: &mut TcpStream| {
        for byte in GOOD.bytes().cycle() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    };
    for how in [silent, drip] {
        let error = HttpClient::new(held(how)).send(&GET, within(IMPATIENCE)).unwrap_err();
        assert!(matches!(error, HttpClientError::Timeout), "{error:?}");
    }
    let error = get(&mut HttpClient::new(held(other))).unwrap_err();
    assert!(matches!(error, HttpClientError::Malformed(_)), "{error:?}");
    let headers = |stream: &mut TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream.write_all(b"A: b\r\n").is_ok() {}
    };
    let error = get(&mut HttpClient::new(held(headers))).unwrap_err();
    assert!(matches!(error, HttpClientError::TooLarge), "{error:?}");
    // The time may be over before anything begins.
    let over = HttpClient::new(answering(GOOD)).send(&GET, Instant::now());
    assert!(matches!(over, Err(HttpClientError::Timeout)));
}

#[test]
fn who_takes_nothing_is_given_up_at_the_deadline() {
    let endpoint = server(|_, stream| {
        thread::sleep(Duration::from_millis(300));
        drop(stream);
    });
    let body = vec![b'x'; 16 << 20];
    let post = ClientRequest { method: "POST", body: &body, ..GET };
    let error = HttpClient::new(endpoint).send(&post, within(IMPATIENCE)).unwrap_err();
    assert!(matches!(error, HttpClientError::Timeout), "{error:?}");
}

#[test]
fn an_answer_that_comes_before_the_request_is_sent_counts() {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let endpoint = server(move |_, mut stream| {
        let mut begun = [0; 64];
        stream.read_exact(&mut begun).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Nobody reads the rest, so it cannot be sent.
        let _ = is_over.recv();
    });
    let body = vec![b'x'; 16 << 20];
    let mut client = HttpClient::new(endpoint);
    let response =
        client.send(&ClientRequest { method: "POST", body: &body, ..GET }, within(PATIENCE)).unwrap();
    assert_eq!((response.status, &response.body[..]), (413, &b"no"[..]));
    assert!(client.kept.is_none(), "a request that was not sent whole leaves no use for its connection");
    drop(over);
}

#[test]
fn a_wrong_length_is_found_out() {
    let closing = |answer: &'static str| {
        server(move |_, mut stream| {
            receive(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        })
    };
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello";
    assert!(matches!(get(&mut HttpClient::new(closing(short))), Err(HttpClientError::Closed)));
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    assert!(matches!(get(&mut HttpClient::new(closing(chunk))), Err(HttpClientError::Closed)));
    // Too long: what is behind the answer is never taken for the next one.
    let mut client = HttpClient::new(answering(format!("{GOOD}{GOOD}")));
    for _ in 0..3 {
        assert_eq!(get(&mut client).unwrap().body, b"hello");
    }
    assert!(matches!(
        get(&mut HttpClient::new(closing("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"))),
        Err(HttpClientError::TooLarge)
    ));
}

#[test]
fn where_the_status_is_enough_a_bad_body_is_not_waited_for() {
    for rest in [
        "Content-Length: 5\r\n\r\nhell",
        "Content-Length: 99999999999\r\n\r\nhell",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\nzz\r\n",
        "\r\nhell",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{rest}");
        let endpoint = server(move |_, mut stream| {
            receive(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            // And never ends.
            receive(&mut stream);
        });
        let mut client = HttpClient::new(endpoint).judging_by_status();
        let response = get(&mut client).unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hell"[..]), "{rest:?}");
        assert!(client.kept.is_none());
    }
    let mut client = HttpClient::new(answering(GOOD)).judging_by_status();
    get(&mut client).unwrap();
    assert!(client.kept.is_some(), "a good one leaves its connection");
    let reset_early = server(|_, mut stream| {
        receive(&mut stream);
        reset(&stream);
    });
    let error = get(&mut HttpClient::new(reset_early).judging_by_status()).unwrap_err();
    assert!(matches!(error, HttpClientError::Closed), "{error:?}");
}

#[test]
fn a_unix_socket_is_spoken_to_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while receive(&mut stream).is_some_and(|request| request.contains("Host: localhost\r\n")) {
                stream.write_all(GOOD.as_bytes()).unwrap();
            }
        }
    });
    let mut client = HttpClient::new(HttpEndpoint::Unix(path.clone()));
    for _ in 0..3 {
        assert_eq!(get(&mut client).unwrap().body, b"hello");
    }
    // A full backlog is waited for, and given up at the deadline.
    let full = folder.path().join("full");
    let _listener = UnixListener::bind(&full).unwrap();
    rustix::net::listen(&_listener, 0).unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| HttpClient::new(HttpEndpoint::Unix(full.clone()))).collect();
    let errors = clients.iter_mut().map(|client| client.send(&GET, within(IMPATIENCE)).unwrap_err());
    assert!(errors.into_iter().all(|error| matches!(error, HttpClientError::Timeout)));
    let nobody =
        HttpClient::new(HttpEndpoint::Unix(folder.path().join("nobody"))).send(&GET, within(PATIENCE));
    assert!(nobody.unwrap_err().to_string().contains("no such host or socket"));
}

#[test]
fn what_was_not_asked_for_is_no_answer() {
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let (tell, told_back) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    // As proxies do before they close a connection that was idle for too long.
    let endpoint = server(move |number, mut stream| {
        receive(&mut stream);
        stream.write_all(GOOD.as_bytes()).unwrap();
        if number == 0 {
            told.lock().unwrap().recv().unwrap();
            stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").unwrap();
            tell.send(()).unwrap();
        }
        receive(&mut stream);
    });
    let mut client = HttpClient::new(endpoint);
    assert_eq!(get(&mut client).unwrap().status, 200);
    go_on.send(()).unwrap();
    told_back.recv().unwrap();
    assert_eq!(get(&mut client).unwrap().status, 200);
}

#[test]
fn addresses_are_tried_in_turn() {
    let HttpEndpoint::Tcp { port, .. } = answering(GOOD) else { panic!("it listens by TCP") };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [free, ([127, 0, 0, 1], port).into()];
    let mut client = HttpClient::new(HttpEndpoint::Local(addresses.map(Into::into).into()));
    assert_eq!(get(&mut client).unwrap().status, 200);
    // It serves one connection after the other.
    drop(client);
    // One that is silent, because it has no room, leaves time for the next.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    let full = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let silent = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let addresses = vec![silent.into(), std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()];
    let mut client = HttpClient::new(HttpEndpoint::Local(addresses));
    assert_eq!(client.send(&GET, within(10 * IMPATIENCE)).unwrap().status, 200);
    let refused = HttpClient::new(HttpEndpoint::Local(vec![free.into()])).send(&GET, within(PATIENCE));
    assert!(refused.unwrap_err().to_string().contains("nobody listens there"));
}

#[test]
fn an_interruption_ends_the_wait() {
    let waker = Arc::new(Waker::new().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let endpoint = server(move |_, mut stream| {
        receive(&mut stream);
        tell.send(()).unwrap();
        receive(&mut stream);
    });
    let mut client = HttpClient::new(endpoint).interrupted_by(Arc::clone(&waker));
    let waking = thread::spawn(move || {
        told.recv().unwrap();
        waker.wake();
    });
    assert!(matches!(get(&mut client), Err(HttpClientError::Interrupted)));
    waking.join().unwrap();
    assert!(matches!(get(&mut client), Err(HttpClientError::Interrupted)), "and whatever is begun after it");
}
