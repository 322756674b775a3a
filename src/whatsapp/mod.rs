//! A delivery is what one body of WhatsApp holds, item by item (contract, section 14).

mod item_counts;

use sha2::{Digest, Sha256};

use crate::message::Message;

pub use item_counts::ItemCounts;

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

/// What an item is made into.
#[derive(Debug)]
pub enum Mapping {
    Message(Message),
    NotAMessage,
    /// A message without sender, id or time, or a body of no known shape.
    Unmapped,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message,
    Status,
    Other,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemResult {
    Created,
    Duplicate,
    Unmapped,
    Dropped,
}

/// The id half of the key of the item of a message.
pub fn message_key(message_id: &str) -> [u8; 8] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(b"messages\0messages\0").chain_update(message_id).finalize().into();
    let mut half = [0; 8];
    half.copy_from_slice(&hash[..8]);
    half
}
