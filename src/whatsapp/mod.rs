//! A stand-in.
use crate::message::Message;

pub struct Delivery {
    pub items: Vec<Item>,
}
pub fn split(body: &[u8]) -> Delivery {
    let key = ItemKey { id: [0; 8], content: [0; 16] };
    Delivery {
        items: vec![Item {
            kind: Kind::Other,
            key,
            id: None,
            original: body.into(),
            mapping: Mapping::Unmapped,
        }],
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message,
    Status,
    Other,
}
impl Kind {
    pub const ALL: &[Self] = &[Self::Message, Self::Status, Self::Other];
    pub fn label(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Status => "status",
            Self::Other => "other",
        }
    }
}
pub struct Item {
    pub kind: Kind,
    pub key: ItemKey,
    pub id: Option<String>,
    pub original: Box<[u8]>,
    pub mapping: Mapping,
}
pub enum Mapping {
    Message(Message),
    NotAMessage,
    Unmapped,
}
pub struct ItemKey {
    pub id: [u8; 8],
    pub content: [u8; 16],
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemResult {
    Created,
    Duplicate,
    Unmapped,
    Dropped,
}
impl ItemResult {
    pub const ALL: &[Self] = &[Self::Created, Self::Duplicate, Self::Unmapped, Self::Dropped];
    pub fn label(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Duplicate => "duplicate",
            Self::Unmapped => "unmapped",
            Self::Dropped => "dropped",
        }
    }
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemCounts([[u64; 4]; 3]);
impl ItemCounts {
    pub fn add(&mut self, kind: Kind, result: ItemResult) {
        self.0[kind as usize][result as usize] += 1;
    }
    pub fn of(&self, kind: Kind, result: ItemResult) -> u64 {
        self.0[kind as usize][result as usize]
    }
    pub fn results(&self, result: ItemResult) -> u64 {
        self.0.iter().map(|kind| kind[result as usize]).sum()
    }
}
impl std::ops::AddAssign<&Self> for ItemCounts {
    fn add_assign(&mut self, other: &Self) {
        for (a, b) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            *a += b;
        }
    }
}
impl Item {
    pub fn is_usual_status(&self) -> bool {
        false
    }
}
