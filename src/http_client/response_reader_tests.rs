//! The response reader is fed whole answers, cut ones and what is none.

use super::*;

const MAX: usize = 20;

fn reader() -> ResponseReader {
    ResponseReader::new(false, MAX)
}

/// Status, body, and whether the connection can be kept, of an answer after which the server closes.
fn read(input: &str) -> Result<(u16, String, bool), HttpClientError> {
    let mut reader = reader();
    let whole = match reader.push(input.as_bytes())? {
        Some(whole) => whole,
        None => reader.end()?.expect("the end makes an answer or an error"),
    };
    let (response, is_reusable) = whole;
    Ok((response.status, String::from_utf8(response.body).unwrap(), is_reusable))
}

#[track_caller]
fn good(input: &str, status: u16, body: &str, is_reusable: bool) {
    assert_eq!(read(input).unwrap(), (status, body.to_owned(), is_reusable), "{input:?}");
}

#[test]
fn an_answer_ends_as_its_head_says() {
    good("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true);
    good("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true);
    good(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\nA: b\r\n\r\n",
        200,
        "hello",
        true,
    );
    good("HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", false);
    good("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true);
    good("HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n", 304, "", true);
    good("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false);
    good("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true);
    good("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false);
    // A later minor version, no phrase, and no blank before none.
    good("HTTP/1.2 200 \r\nContent-Length: 1\r\n\r\nx", 200, "x", true);
    good("HTTP/1.1 599\r\nContent-Length: 1\r\n\r\nx", 599, "x", true);
    good("HTTP/1.1 200 Tr\u{e8}s bien\r\nContent-Length: 0\r\n\r\n", 200, "", true);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let mut reader = ResponseReader::new(true, MAX);
    let whole = reader.push(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n").unwrap();
    assert!(whole.is_some_and(|(response, is_reusable)| response.body.is_empty() && is_reusable));
}

#[test]
fn an_answer_is_the_same_wherever_its_bytes_are_cut() {
    for input in [
        &b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 201 Created\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ] {
        for cut in 0..input.len() {
            let mut reader = reader();
            assert!(reader.push(&input[..cut]).unwrap().is_none(), "cut at {cut}");
            let (response, is_reusable) = reader.push(&input[cut..]).unwrap().unwrap();
            assert_eq!((response.status, &response.body[..], is_reusable), (201, &b"hello"[..], true));
            assert_eq!(response.headers.only("a"), Some("b"));
        }
        let mut reader = reader();
        let mut last = None;
        for byte in input {
            assert!(last.is_none());
            last = reader.push(&[*byte]).unwrap();
        }
        assert!(last.is_some());
    }
}

#[test]
fn interim_answers_are_read_over_and_have_an_end() {
    let continued = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    good(&format!("{continued}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), 200, "x", true);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INTERIM + 1);
    assert!(matches!(read(&endless), Err(HttpClientError::Malformed(_))));
    assert!(matches!(
        read("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        Err(HttpClientError::Malformed(_))
    ));
}

#[test]
fn what_is_no_answer_is_malformed() {
    for input in [
        "hello\r\n\r\n",
        "\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "\u{15}\u{3}\u{1}\0\u{2}\u{2}F",
        "{\"detail\":\"none\"}\n",
    ] {
        assert!(matches!(read(input), Err(HttpClientError::Malformed(_))), "{input:?}: {:?}", read(input));
    }
}

#[test]
fn what_is_cut_off_is_no_answer() {
    for input in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 1",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert!(matches!(read(input), Err(HttpClientError::Closed)), "{input:?}");
    }
}

#[test]
fn head_and_body_have_a_bound() {
    let long = "x".repeat(MAX + 1);
    for input in [
        format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(64 << 10)),
        format!("HTTP/1.1 200 {}", "b".repeat(64 << 10)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1)),
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX + 1),
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", MAX + 1),
        format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
    ] {
        assert!(matches!(read(&input), Err(HttpClientError::TooLarge)), "{:?}", &input[..40]);
    }
    good(&format!("HTTP/1.1 200 OK\r\n\r\n{}", &long[1..]), 200, &long[1..], false);
}

#[test]
fn what_follows_an_answer_ends_the_connection() {
    let one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    good(&format!("{one}{one}"), 200, "x", false);
    good("HTTP/1.1 204 No Content\r\n\r\nbody", 204, "", false);
}

#[test]
fn the_beginning_of_an_answer_is_there_once_its_head_is() {
    for (input, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", Some("hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello", Some("hello")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz", Some("hello")),
        ("HTTP/1.1 200 OK\r\n\r\nhello hello hello hello", Some("hello hello hello he")),
        ("HTTP/1.1 200 OK\r\nContent-Le", None),
        ("HTTP/1.1 100 Continue\r\n\r\n", None),
    ] {
        let mut reader = reader();
        let _ = reader.push(input.as_bytes());
        let response = reader.beginning();
        assert_eq!(
            response.as_ref().map(|response| &response.body[..]),
            body.map(str::as_bytes),
            "{input:?}"
        );
    }
}

#[test]
fn an_answer_is_untouched_until_its_first_byte() {
    let mut reader = reader();
    assert!(reader.is_untouched() && !reader.has_head());
    reader.push(b"H").unwrap();
    assert!(!reader.is_untouched() && !reader.has_head());
    reader.push(b"TTP/1.1 200 OK\r\n\r\n").unwrap();
    assert!(!reader.is_untouched() && reader.has_head());
}

#[test]
fn whatever_comes_is_an_answer_or_an_error() {
    let seeds = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
    ];
    // xorshift64: the same bytes in every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut whole = 0;
    for _ in 0..20_000 {
        let mut bytes = seeds[random(seeds.len())].as_bytes().to_vec();
        for _ in 0..random(3) {
            let at = random(bytes.len().max(1));
            match random(4) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = random(256) as u8,
                1 => bytes.insert(at, b"\r\n:; 09afA\0"[random(11)]),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let mut reader = reader();
        let cut = random(bytes.len() + 1);
        let answer = match reader.push(&bytes[..cut]) {
            Ok(None) => reader.push(&bytes[cut..]),
            other => other,
        };
        match answer {
            Ok(Some((response, _))) => {
                assert!((200..1000).contains(&response.status) && response.body.len() <= MAX);
                whole += 1;
            }
            Ok(None) => drop((reader.end().is_ok(), reader.beginning())),
            Err(_) => assert!(reader.beginning().is_none_or(|response| response.body.len() <= MAX)),
        }
    }
    assert!(whole > 1000, "the seeds themselves are among them: {whole}");
}
