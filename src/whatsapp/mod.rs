//! A delivery is what one body of WhatsApp holds, item by item (contract, section 14).

mod envelope;
mod item_counts;
mod json;
mod key;
mod mapping;
mod names;
mod split;
#[cfg(test)]
mod split_tests;
mod text;

use crate::message::Message;
use json::Json;

pub use crate::metrics::{ItemKind as Kind, ItemResult};
pub use item_counts::ItemCounts;
pub use key::{has_content, message_key};
pub use mapping::map_again;
pub use names::{is_sent_by, names};
pub use split::split;

/// Bytes of a body: Meta says three megabytes.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// The statuses that WhatsApp sends for each message that went out.
const ROUTINE_STATUSES: [&str; 4] = ["sent", "delivered", "read", "failed"];

/// What one body holds.
#[derive(Debug)]
pub struct Delivery {
    /// Never empty.
    pub items: Vec<Item>,
}

/// One element of one array.
#[derive(Debug)]
pub struct Item {
    pub kind: Kind,
    pub key: ItemKey,
    /// Of the element, where it has one.
    pub id: Option<String>,
    /// A change with that element alone, as it came.
    pub original: Box<[u8]>,
    pub mapping: Mapping,
}

/// What an item is known by: SHA-256, truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ItemKey {
    pub id: [u8; 8],
    pub content: [u8; 16],
}

/// What the store makes of an item beside keeping it.
#[derive(Debug)]
pub enum Mapping {
    Message(Message),
    NotAMessage,
    /// A message without sender, id or time, or a body of no known shape.
    Unmapped,
}

impl Item {
    /// Says that a message was sent, delivered, read, or failed, and nothing else: what may be dropped.
    pub fn is_routine_status(&self) -> bool {
        let status = || {
            let statuses = Json::read(&self.original)?.get("value")?.get("statuses")?;
            statuses
                .elements()
                .next()?
                .get("status")?
                .string()
                .map(|status| ROUTINE_STATUSES.contains(&&*status))
        };
        self.kind == Kind::Status && status().unwrap_or(false)
    }
}

/// True for an object with a member `entry`, which every body of WhatsApp has, whatever is in it.
pub fn has_entry(text: &[u8]) -> bool {
    Json::read(text).is_some_and(|json| json.get("entry").is_some())
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}
