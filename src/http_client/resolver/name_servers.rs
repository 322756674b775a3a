//! Name servers are asked in the order of `resolv.conf`, each for a short time (resolv.conf(5)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::rand::{GetRandomFlags, getrandom};

use super::super::HttpClientError;
use super::super::wait::Wait;
use super::dns_message::{DnsReply, Record, query, reply};

const PORT: u16 = 53;
/// As many as the C library asks.
const MAX_SERVERS: usize = 3;
/// How long one is waited for, and how often all are asked. Who is near answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 2;
/// More than any message without an extension holds (RFC 1035, section 4.2.1).
const MAX_MESSAGE_BYTES: usize = 4096;

/// Whom to ask, and for which names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    servers: Vec<SocketAddr>,
    /// What is appended to a short name.
    search: Vec<String>,
    /// A name with so many dots is asked for as it stands first.
    ndots: usize,
}

impl Settings {
    pub(super) fn parse(text: &str) -> Self {
        let mut settings = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // One of a link is named with its interface, which nobody far away is reached by.
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    settings.servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                // The last one counts.
                Some("search" | "domain") => settings.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.rev().find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    settings.ndots = ndots.unwrap_or(settings.ndots);
                }
                _ => {}
            }
        }
        settings.servers.truncate(MAX_SERVERS);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        settings
    }

    /// The names that are asked for, one after the other, until there is one.
    fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let longer = self.search.iter().map(|domain| format!("{host}.{domain}"));
        if host.matches('.').count() >= self.ndots {
            std::iter::once(host.to_owned()).chain(longer).collect()
        } else {
            longer.chain(std::iter::once(host.to_owned())).collect()
        }
    }

    /// The addresses of `host`: those of IPv4, or where there are none those of IPv6. None where there is no such
    /// name.
    pub(super) fn ask(&self, host: &str, wait: &Wait<'_>) -> Result<Vec<IpAddr>, HttpClientError> {
        for name in self.candidates(host) {
            for record in [Record::A, Record::Aaaa] {
                match self.ask_all(&name, record, wait)? {
                    DnsReply::Addresses(found) if !found.is_empty() => return Ok(found),
                    DnsReply::NoSuchName => break,
                    _ => {}
                }
            }
        }
        Ok(Vec::new())
    }

    /// What the first server says that answers.
    fn ask_all(&self, name: &str, record: Record, wait: &Wait<'_>) -> Result<DnsReply, HttpClientError> {
        let mut last = DnsReply::NoSuchName;
        let mut has_answered = false;
        for server in self.servers.iter().cycle().take(self.servers.len() * ROUNDS as usize) {
            match ask_one(*server, name, record, &wait.at_most(PATIENCE)) {
                Ok(DnsReply::Failed) => (last, has_answered) = (DnsReply::Failed, true),
                Ok(reply) => return Ok(reply),
                Err(HttpClientError::Interrupted) => return Err(HttpClientError::Interrupted),
                Err(_) if wait.left().is_zero() => return Err(HttpClientError::Timeout),
                Err(_) => {}
            }
        }
        if has_answered {
            return Ok(last);
        }
        let what = format!("no name server answers that {SETTINGS} names", SETTINGS = super::SETTINGS);
        Err(HttpClientError::Connect(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

fn ask_one(
    server: SocketAddr,
    name: &str,
    record: Record,
    wait: &Wait<'_>,
) -> Result<DnsReply, HttpClientError> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::NONBLOCK).map_err(|error| HttpClientError::Connect(error.into()))?;
    let Some(query) = query(u16::from_ne_bytes(id), name, record) else {
        return Ok(DnsReply::NoSuchName);
    };
    let home: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((home, 0)).map_err(HttpClientError::Connect)?;
    // From here on the kernel lets no other sender through.
    socket.connect(server).map_err(HttpClientError::Connect)?;
    socket.set_nonblocking(true).map_err(HttpClientError::Connect)?;
    socket.send(&query).map_err(HttpClientError::Connect)?;
    let mut message = [0; MAX_MESSAGE_BYTES];
    loop {
        wait.until(socket.as_fd(), PollFlags::IN)?;
        match socket.recv(&mut message) {
            Ok(length) => {
                if let Some(reply) = reply(&query, &message[..length]) {
                    return Ok(reply);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(HttpClientError::Connect(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn settings_say_whom_to_ask_for_what() {
        let text = "# comment\nnameserver 127.0.0.11\nnameserver fe80::1%eth0\nnameserver ::1\nsearch old\n\
                    search ns.svc.cluster.local svc.cluster.local\noptions timeout:1 ndots:5\n";
        let settings = Settings::parse(text);
        assert_eq!(settings.servers, ["127.0.0.11:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(settings.candidates("app"), ["app.ns.svc.cluster.local", "app.svc.cluster.local", "app"]);
        assert_eq!(settings.candidates("app."), ["app."]);
        let plain = Settings::parse("");
        assert_eq!(plain.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(plain.candidates("app"), ["app"]);
        let searching = Settings { search: vec!["lan".into()], ..plain };
        assert_eq!(searching.candidates("app.internal"), ["app.internal", "app.internal.lan"]);
    }

    /// A name server that knows `app.lan` and, by IPv6 alone, `six`; to the first question it says nothing, to the second
    /// rubbish and then the answer.
    fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            for turn in 0.. {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
                let mut message = buffer[..length].to_vec();
                let is_a = message[length - 3] == 1;
                let record: Option<&[u8]> = match &message[12..length - 4] {
                    b"\x03app\x03lan\0" => Some(&[192, 0, 2, 7]),
                    b"\x03six\0" if !is_a => Some(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
                    b"\x03six\0" => None,
                    _ => {
                        message[2..4].copy_from_slice(&[0x80, 3]);
                        socket.send_to(&message, from).unwrap();
                        continue;
                    }
                };
                message[2] = 0x80;
                if let Some(data) = record {
                    message[7] = 1;
                    message.extend_from_slice(&[0xc0, 12, 0, message[length - 3], 0, 1, 0, 0, 0, 60, 0]);
                    message.push(data.len() as u8);
                    message.extend_from_slice(data);
                }
                if turn > 0 {
                    socket.send_to(b"rubbish", from).unwrap();
                    socket.send_to(&message, from).unwrap();
                }
            }
        });
        address
    }

    #[test]
    fn a_name_server_is_asked_again_and_for_both_kinds_of_address() {
        let settings = Settings { servers: vec![server()], search: vec!["lan".to_owned()], ndots: 1 };
        let wait = Wait::new(Instant::now() + Duration::from_secs(60), None);
        let ask = |host: &str| settings.ask(host, &wait).unwrap();
        assert_eq!(ask("app"), [IpAddr::from([192, 0, 2, 7])]);
        assert_eq!(ask("six."), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert!(ask("nobody").is_empty());
    }

    #[test]
    fn silence_and_refusal_end_by_the_deadline() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let settings = Settings { servers: vec![silent.local_addr().unwrap()], search: Vec::new(), ndots: 1 };
        let wait = Wait::new(Instant::now() + Duration::from_millis(50), None);
        assert!(matches!(settings.ask("app", &wait), Err(HttpClientError::Timeout)));
        drop(silent);
        let wait = Wait::new(Instant::now() + Duration::from_secs(60), None);
        let error = settings.ask("app", &wait).unwrap_err();
        assert!(error.to_string().contains("no name server answers"), "{error}");
    }
}
