//! A DNS message asks for the addresses of a name, or tells them (RFC 1035, section 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are asked for (RFC 1035, section 3.2.2; RFC 3596).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    A = 1,
    Aaaa = 28,
}

/// What a name server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DnsReply {
    /// The name has these addresses of the kind, perhaps none.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// It cannot say.
    Failed,
}

const HEADER_BYTES: usize = 12;
const INTERNET: u16 = 1;
/// Flags of a query: ask others for what is not known.
const RECURSION_DESIRED: u16 = 0x0100;
const IS_REPLY: u16 = 0x8000;
/// The two bits that make a pointer of a label's length.
const POINTER: u8 = 0xC0;

/// The question for the addresses of `name`; `None` where that is no name (RFC 1035, section 2.3.4).
pub(super) fn query(id: u16, name: &str, record: Record) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    for field in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() - HEADER_BYTES > 255 {
        return None;
    }
    for field in [record as u16, INTERNET] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    Some(message)
}

/// What `message` says to `query`; `None` where it is no answer to it.
pub(super) fn reply(query: &[u8], message: &[u8]) -> Option<DnsReply> {
    let word = |at: usize| message.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let flags = word(2)?;
    let question = query.get(HEADER_BYTES..)?;
    let repeats = message.get(HEADER_BYTES..HEADER_BYTES + question.len())?;
    if message.get(..2) != query.get(..2)
        || flags & IS_REPLY == 0
        || word(4)? != 1
        || !repeats.eq_ignore_ascii_case(question)
    {
        return None;
    }
    match flags & 0x000F {
        0 => {}
        3 => return Some(DnsReply::NoSuchName),
        _ => return Some(DnsReply::Failed),
    }
    let wanted = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
    // What is cut off is missing: the addresses before it are as good.
    Some(DnsReply::Addresses(addresses(message, HEADER_BYTES + question.len(), word(6)?, wanted)))
}

/// Those of `count` records from `at` on, whoever they belong to: the others are the aliases that lead there.
fn addresses(message: &[u8], mut at: usize, count: u16, wanted: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(behind) = skip_name(message, at) else { break };
        let Some(&[kind, kind_low, class, class_low, _, _, _, _, length, length_low]) =
            message.get(behind..behind + 10).and_then(|fixed| fixed.first_chunk::<10>())
        else {
            break;
        };
        let start = behind + 10;
        at = start + usize::from(u16::from_be_bytes([length, length_low]));
        let Some(data) = message.get(start..at) else { break };
        if [kind, kind_low] != wanted.to_be_bytes() || [class, class_low] != INTERNET.to_be_bytes() {
            continue;
        }
        if let Ok(four) = <[u8; 4]>::try_from(data) {
            found.push(Ipv4Addr::from(four).into());
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(data) {
            found.push(Ipv6Addr::from(sixteen).into());
        }
    }
    found
}

/// Behind the name that stands at `at`: labels up to an empty one, or up to a pointer to others, which is not
/// followed, so that none can lead in a circle.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & POINTER == POINTER => return Some(at + 2),
            length if length & POINTER == 0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `query` with these records, each a name, a kind and its data.
    fn answer(query: &[u8], code: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&(IS_REPLY | code).to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (name, kind, data) in records {
            message.extend_from_slice(name);
            for field in [*kind, INTERNET, 0, 60, data.len() as u16] {
                message.extend_from_slice(&field.to_be_bytes());
            }
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn a_question_is_asked_and_its_answer_read() {
        let query = query(0x1234, "app.example.", Record::A).unwrap();
        assert_eq!(
            query,
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03app\x07example\x00\x00\x01\x00\x01"
        );
        let alias = b"\x04real\xc0\x10";
        let message = answer(
            &query,
            0,
            &[(b"\xc0\x0c", 5, alias), (alias, 1, &[192, 0, 2, 1]), (alias, 1, &[192, 0, 2, 2])],
        );
        let two = vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        assert_eq!(reply(&query, &message), Some(DnsReply::Addresses(two)));
        assert_eq!(reply(&query, &answer(&query, 0, &[])), Some(DnsReply::Addresses(Vec::new())));
        assert_eq!(reply(&query, &answer(&query, 3, &[])), Some(DnsReply::NoSuchName));
        assert_eq!(reply(&query, &answer(&query, 2, &[])), Some(DnsReply::Failed));
        for cut in 0..message.len() {
            // Whatever is there is taken, and nothing beyond it looked at.
            let _ = reply(&query, &message[..cut]);
        }
    }

    #[test]
    fn what_answers_another_question_is_none() {
        let asked = query(1, "app", Record::A).unwrap();
        let of = |id, name, record| answer(&query(id, name, record).unwrap(), 0, &[]);
        assert!(reply(&asked, &of(1, "APP", Record::A)).is_some());
        for other in [of(2, "app", Record::A), of(1, "apq", Record::A), of(1, "app", Record::Aaaa)] {
            assert_eq!(reply(&asked, &other), None);
        }
        assert_eq!(reply(&asked, &asked), None, "a question is no answer");
        assert_eq!(reply(&asked, b""), None);
    }

    #[test]
    fn a_name_that_cannot_be_asked_for_is_not() {
        let long = "a".repeat(64);
        let many = "a.".repeat(128);
        for name in ["", "a..b", ".", &long, &many] {
            assert_eq!(query(1, name, Record::A), None, "{name:?}");
        }
    }
}
