//! What is no HTTP, or more of it than anybody needs.

use std::io::{Read, Write};
use std::time::Duration;

use crate::http_client::request;
use crate::row::{Report, Row, is_closed, scaled};
use crate::service::Service;
use crate::swarm::{connect, status_of};

/// A generator whose numbers look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.roll(256) as u8).collect()
    }
}

/// Sends the bytes and says that nothing follows; the status of the first answer, if there was one.
fn ask(service: &Service, bytes: &[u8]) -> Result<Option<u16>, String> {
    let mut stream = connect(service).map_err(|error| format!("not connected: {error}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    // A refusal may come before the end of what is sent.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                return Err(format!("no answer to {:?}", String::from_utf8_lossy(bytes)));
            }
            _ => return Ok(status_of(&received)),
        }
    }
}

#[test]
fn other_protocols_are_refused() {
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n";
    let oddities: [(&[u8], Option<u16>); 14] = [
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", Some(505)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", Some(505)),
        (b"GET / HTTP/0.9\r\n\r\n", Some(505)),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", Some(505)),
        (b"GET / HTTP/1.99\r\nHost: x\r\n\r\n", Some(400)),
        (b"GET / HTTP/\r\nHost: x\r\n\r\n", Some(400)),
        (b"GET / FTP/1.1\r\nHost: x\r\n\r\n", Some(400)),
        (b"GET /\r\n\r\n", Some(400)),
        (b"EHLO example.org\r\n\r\n", Some(400)),
        (tls_hello, Some(400)),
        (&[0; 1000], Some(400)),
        (b"\n", Some(400)),
        (b"\xff\xfe\xfd\r\n\r\n", Some(400)),
        (b"", None),
    ];
    Row::new("other versions, TLS, garbage, nulls").attack(|service| {
        let count = scaled(10_000, 500);
        let mut report = Report::of(format!("{count} connections"));
        for n in 0..count {
            let (bytes, expected) = oddities[n % oddities.len()];
            let status = ask(service, bytes);
            report.expect(status == Ok(expected), || {
                format!("{:?} was answered {status:?}", String::from_utf8_lossy(bytes))
            });
        }
        report
    });
}

#[test]
fn random_bytes_are_answered_or_hung_up_on() {
    const SEEDS: [&str; 4] = [
        "GET /messages?limit=5&from=%2B91&since=2025-01-15T10:00:00Z&q=a&after=x HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nX-Signature: ab\r\n\r\n{\"a\":\"b\"}",
        "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HEAD http://a/stats HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
    ];
    Row::new("random bytes").attack(|service| {
        let count = scaled(1_000_000, 3_000);
        let senders = 4;
        let faults = std::thread::scope(|scope| {
            let attack = |sender: u64| {
                let mut dice = Dice(sender);
                let mut faults = Vec::new();
                for n in 0..count / senders {
                    let mut bytes = dice.bytes(200);
                    if n % 2 == 0 {
                        // Almost a request gets further than noise does.
                        bytes = SEEDS[dice.roll(SEEDS.len())].as_bytes().to_vec();
                        for _ in 0..dice.roll(4) {
                            let place = dice.roll(bytes.len());
                            bytes[place] = dice.roll(256) as u8;
                        }
                    }
                    match ask(service, &bytes) {
                        Ok(Some(500..=502)) => faults.push(format!("500 for {bytes:?}")),
                        Ok(_) => {}
                        Err(fault) => faults.push(fault),
                    }
                    if faults.len() > 3 {
                        break;
                    }
                }
                faults
            };
            let senders: Vec<_> = (0..senders).map(|n| scope.spawn(move || attack(n))).collect();
            senders.into_iter().flat_map(|sender| sender.join().expect("no sender panics")).collect()
        });
        Report { faults, ..Report::of(format!("{count} requests")) }
    });
}

/// Sends `head` and then `piece` for ever, on one connection after the other, until so many bytes
/// have left. The statuses it was answered with.
fn pour(service: &Service, head: &[u8], piece: &[u8], bytes: usize) -> (usize, Vec<Option<u16>>) {
    let block = piece.repeat((64 << 10) / piece.len() + 1);
    let (mut sent, mut statuses) = (0, Vec::new());
    while sent < bytes {
        let Ok(mut stream) = connect(service) else {
            break;
        };
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
        let mut pouring = stream.write_all(head).is_ok();
        while pouring && sent < bytes {
            pouring = stream.write_all(&block).is_ok();
            sent += block.len();
        }
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let result = stream.read(&mut buffer);
            if is_closed(&result) {
                break;
            }
            match result {
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(_) => break,
            }
        }
        statuses.push(status_of(&received));
    }
    (sent, statuses)
}

#[test]
fn heads_without_end_are_cut_off() {
    Row::new("endless header line, 10,000 headers, 1 MB URL").attack(|service| {
        let bytes = scaled(100 << 20, 4 << 20);
        let mut report = Report::of(format!("{} MB of each", bytes >> 20));
        let line = b"GET / HTTP/1.1\r\nHost: x\r\nA: ";
        let many = b"GET / HTTP/1.1\r\nHost: x\r\n";
        for (head, piece, expected) in [
            (line.as_slice(), b"b".as_slice(), 431),
            (many.as_slice(), b"A: b\r\n".as_slice(), 431),
            (b"GET /".as_slice(), b"a".as_slice(), 414),
            (b"".as_slice(), b"A".as_slice(), 414),
        ] {
            let (sent, statuses) = pour(service, head, piece, bytes);
            let refused = statuses.iter().filter(|status| **status == Some(expected)).count();
            // Who does not stop sending may lose the answer to a reset.
            let reset = statuses.iter().filter(|status| status.is_none()).count();
            report.expect(sent >= bytes && refused + reset == statuses.len(), || {
                format!("{sent} bytes of {piece:?}: {statuses:?}")
            });
        }
        // Exactly what the row names, sent to its end and listened to.
        let headers = vec![("A", "b"); 10_000];
        for (bytes, expected) in [
            (request("GET", "/", &headers, None), 431),
            (request("GET", &format!("/{}", "a".repeat(1 << 20)), &[], None), 414),
        ] {
            let status = ask(service, &bytes);
            report.expect(status == Ok(Some(expected)), || format!("{status:?} instead of {expected}"));
        }
        report
    });
}

#[test]
fn empty_lines_without_end_hold_nobody_up() {
    Row::new("empty lines before a request, for ever").attack(|service| {
        let bytes = scaled(4 << 30, 64 << 20_usize);
        let senders = 4;
        let sent: usize = std::thread::scope(|scope| {
            let senders: Vec<_> =
                (0..senders).map(|_| scope.spawn(|| pour_blank(service, bytes / senders))).collect();
            senders.into_iter().map(|sender| sender.join().expect("no sender panics")).sum()
        });
        Report::of(format!("{} MB on {senders} connections", sent >> 20))
    });
}

/// Sends CRLF and nothing else until so many bytes have left or the service hangs up.
fn pour_blank(service: &Service, bytes: usize) -> usize {
    let Ok(mut stream) = connect(service) else {
        return 0;
    };
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    let block = b"\r\n".repeat(128 << 10);
    let mut sent = 0;
    while sent < bytes && stream.write_all(&block).is_ok() {
        sent += block.len();
    }
    sent
}
