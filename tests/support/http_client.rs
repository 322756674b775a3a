//! Raw HTTP over a socket: a keep-alive client that decides what it sends, and reads whatever comes back.

use std::fmt::{Display, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;

use super::fixtures::{SECRET, sign};

/// Long enough for a slow machine under load; a silent service is a failure, never a hang. Shorter than the 55 s for
/// which the feed is asked to wait: that its time was over is no wake.
const PATIENCE: Duration = Duration::from_secs(50);

#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    /// `host:port` of a TCP socket.
    pub(crate) fn host_and_port(&self) -> &str {
        match self {
            Self::Tcp(host_and_port) => host_and_port,
            Self::Unix(path) => panic!("{} has no port", path.display()),
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(host_and_port) => {
                let stream = TcpStream::connect(host_and_port)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(stream))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Statuses of the 1xx answers that came before this one.
    pub(crate) interim: Vec<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("an answer is UTF-8")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The status, or a panic that shows the body, which usually says why.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    pub(crate) fn request_id(&self) -> &str {
        self.header("X-Request-ID").expect("every response carries X-Request-ID")
    }

    /// The target of `Link: <…>; rel="next"`.
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("Link")?;
        let (target, rest) =
            link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("Link: <target>");
        assert!(rest.contains("rel=\"next\""), "{link}");
        Some(target.to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<Socket>,
}

impl Client {
    pub(crate) fn try_connect(address: &Address) -> io::Result<Self> {
        Ok(Self { reader: BufReader::new(Socket::connect(address)?) })
    }

    pub(crate) fn connect(address: &Address) -> Self {
        Self::try_connect(address).expect("the service accepts a connection")
    }

    /// From this address of the machine.
    pub(crate) fn connect_from(from: &str, address: &str) -> Self {
        let parse = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
            .expect("the machine has sockets");
        rustix::net::bind(&socket, &parse(&format!("{from}:0"))).expect("the address is this machine's");
        rustix::net::connect(&socket, &parse(address)).expect("the service accepts a connection");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("a socket takes an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Self { reader: BufReader::new(Socket::Tcp(stream)) }
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        match self.reader.get_ref() {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(patience)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(patience)),
        }
        .expect("a socket takes a timeout");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the service takes bytes");
    }

    /// Says that no more bytes follow, while answers can still be read.
    pub(crate) fn finish_sending(&mut self) {
        let closed = match self.reader.get_ref() {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        // A peer that has hung up already is as good.
        drop(closed);
    }

    pub(crate) fn try_receive(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let status = self.status_line()?;
            let headers = self.headers()?;
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            let mut answer = Answer { status, interim, headers, body: Vec::new() };
            let bodiless = method == "HEAD" || status == 204 || status == 304;
            if !bodiless {
                answer.body = self.body(&answer)?;
            }
            return Ok(answer);
        }
    }

    #[track_caller]
    pub(crate) fn receive(&mut self) -> Answer {
        self.try_receive("GET").unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The status of the next 1xx answer, and nothing after it.
    #[track_caller]
    pub(crate) fn receive_interim(&mut self) -> u16 {
        let status = self.status_line().unwrap_or_else(|error| panic!("no interim answer: {error}"));
        self.headers().expect("an interim answer ends with an empty line");
        status
    }

    pub(crate) fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        self.try_send(&request(method, target, headers, body))?;
        self.try_receive(method)
    }

    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        self.try_request(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target} got no answer: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], None)
    }

    /// Signs a message and posts it.
    #[track_caller]
    pub(crate) fn post(&mut self, message: &impl Display) -> Answer {
        self.post_under(SECRET, message)
    }

    #[track_caller]
    pub(crate) fn post_under(&mut self, secret: &str, message: &impl Display) -> Answer {
        self.try_post_under(secret, message)
            .unwrap_or_else(|error| panic!("a webhook got no answer: {error}"))
    }

    pub(crate) fn try_post(&mut self, message: &impl Display) -> io::Result<Answer> {
        self.try_post_under(SECRET, message)
    }

    pub(crate) fn try_post_under(&mut self, secret: &str, message: &impl Display) -> io::Result<Answer> {
        self.try_send(&signed_post(secret, message))?;
        self.try_receive("POST")
    }

    /// Everything up to the close of the connection, which has to come.
    #[track_caller]
    pub(crate) fn read_until_closed(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => return received,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return received,
                Err(error) => {
                    panic!(
                        "the connection stays open ({error}) after {:?}",
                        String::from_utf8_lossy(&received)
                    )
                }
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => String::from_utf8(line.to_vec()).map_err(|_| io::ErrorKind::InvalidData.into()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection closed")),
        }
    }

    fn status_line(&mut self) -> io::Result<u16> {
        let line = self.line()?;
        let mut parts = line.splitn(3, ' ');
        let version = parts.next().unwrap_or_default();
        let status = parts.next().and_then(|status| status.parse().ok());
        match status {
            Some(status) if version.starts_with("HTTP/1.") => Ok(status),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a status line: {line:?}"))),
        }
    }

    fn headers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("not a header: {line:?}"))
            })?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
                let start = body.len();
                body.resize(start + size, 0);
                self.reader.read_exact(&mut body[start..])?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        } else if let Some(length) = answer.header("Content-Length") {
            body.resize(length.parse().map_err(|_| io::ErrorKind::InvalidData)?, 0);
            self.reader.read_exact(&mut body)?;
        } else {
            self.reader.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes text");
    }
    if let Some(body) = body {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("a string takes text");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body.unwrap_or_default()].concat()
}

/// A message as its sender posts it, signed under this secret.
pub(crate) fn signed_post(secret: &str, message: &impl Display) -> Vec<u8> {
    let body = message.to_string();
    let signature = sign(secret, body.as_bytes());
    request("POST", "/webhook", &[("X-Signature", &signature)], Some(body.as_bytes()))
}

/// Percent-encodes everything that a query value could be misread for.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes text");
        }
    }
    encoded
}
