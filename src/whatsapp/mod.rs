//! A delivery is what one body of WhatsApp holds, item by item (contract, section 14).

mod item_counts;
mod stand_in;

use crate::message::Message;

pub use item_counts::ItemCounts;
pub use stand_in::split;

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
