//! A program that takes posts: a thread a connection, and an answer for each request, of whatever kind a test wants.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use rustix::net::sockopt::set_socket_linger;

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// These bytes; the connection stays.
    Send(&'static str),
    /// These bytes, and the end of the connection.
    SendAndClose(&'static str),
    /// Nothing but a reset.
    Reset,
    /// Nothing, for as long as the follower waits.
    Hang,
    /// These bytes, again and again.
    Repeat(&'static str),
}

pub(crate) const OK: Reaction = Reaction::Send("HTTP/1.1 204 No Content\r\n\r\n");

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Post {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

#[derive(Debug, Default)]
struct Script {
    reactions: VecDeque<Reaction>,
    posts: Vec<Post>,
    connections: usize,
}

/// Answers by its script, and [`OK`] after its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    script: Arc<Mutex<Script>>,
    port: u16,
}

impl Program {
    pub(crate) fn start(reactions: &[Reaction]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
        let mut program = Self::with(reactions);
        program.port = listener.local_addr().expect("it is bound").port();
        let served = program.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (program, stream) = (served.clone(), stream.expect("a client connects"));
                thread::spawn(move || {
                    let reset = || set_socket_linger(&stream, Some(std::time::Duration::ZERO));
                    program.serve(&stream, &stream, || reset().expect("a socket takes an option"));
                });
            }
        });
        program
    }

    pub(crate) fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("the folder is ours");
        let program = Self::with(&[]);
        let served = program.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a client connects");
                served.serve(&stream, &stream, || {});
            }
        });
        program
    }

    fn with(reactions: &[Reaction]) -> Self {
        let script = Script { reactions: reactions.iter().copied().collect(), ..Script::default() };
        Self { script: Arc::new(Mutex::new(script)), port: 0 }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?x=1", self.port)
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.script().posts.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.script().connections
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no thread panics with it")
    }

    fn serve(&self, read: impl Read, mut write: impl Write, reset: impl Fn()) {
        self.script().connections += 1;
        let mut reader = BufReader::new(read);
        while let Some(post) = receive(&mut reader) {
            let reaction = {
                let mut script = self.script();
                script.posts.push(post);
                script.reactions.pop_front().unwrap_or(OK)
            };
            let sent = match reaction {
                Reaction::Send(bytes) => write.write_all(bytes.as_bytes()).is_ok(),
                Reaction::SendAndClose(bytes) => {
                    // Whoever has hung up already has had its reason.
                    drop(write.write_all(bytes.as_bytes()));
                    false
                }
                Reaction::Reset => {
                    reset();
                    false
                }
                // Until the other end hangs up.
                Reaction::Hang => receive(&mut reader).is_some(),
                Reaction::Repeat(bytes) => {
                    while write.write_all(bytes.as_bytes()).is_ok() {}
                    false
                }
            };
            if !sent {
                return;
            }
        }
    }
}

fn receive(reader: &mut impl BufRead) -> Option<Post> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
        }
    }
    let mut post = Post { head, body: String::new() };
    let length = post.header("Content-Length")?.parse().expect("a length is a number");
    reader.take(length).read_to_string(&mut post.body).ok()?;
    Some(post)
}
