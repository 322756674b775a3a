//! A body is split into items: entry by entry, change by change, array by array, element by element.
//!
//! - Each element of an array stands in exactly one item, its bytes as they came; of an array that is there twice as well.
//! - Of a single member (`field`, `metadata`) that is there twice the last counts.
//! - What stands beside the arrays, and contacts that belong to no element, are one more item, the rest.
//! - Items are larger than their body only by a bounded context; a body that would pass the bounds is one item.

use std::cell::OnceCell;

use sha2::{Digest, Sha256};

use super::envelope::{Envelope, Value};
use super::json::{Json, Member};
use super::{Delivery, Item, Kind, Mapping, key, mapping};

/// More items than Meta has ever put into a body (1,000), and no more than a batch of the writer can hold in memory.
const MAX_ITEMS: usize = 131_072;
/// Of the originals of one body: eight times the longest body.
const MAX_ORIGINALS_BYTES: usize = 32 << 20;

/// Splits a body. What is no JSON, or of an unknown shape, is one item.
pub fn split(body: &[u8]) -> Delivery {
    let mut splitter = Splitter { body, body_hash: OnceCell::new(), items: Vec::new(), bytes: 0 };
    let is_split = Json::read(body).and_then(|json| splitter.root(json)).is_some();
    if !is_split {
        splitter.items.clear();
        let item = splitter.without_id(body.into(), Mapping::Unmapped);
        splitter.items.push(item);
    }
    Delivery { items: splitter.items }
}

struct Splitter<'a> {
    body: &'a [u8],
    body_hash: OnceCell<[u8; 32]>,
    items: Vec<Item>,
    /// Of all originals.
    bytes: usize,
}

impl Splitter<'_> {
    /// The object that a body is. `None` where it is to stay whole.
    fn root(&mut self, json: Json) -> Option<()> {
        let mut rest = Vec::new();
        for member in json.members() {
            match &*member.name {
                "entry" if member.value.is_array() => {
                    member.value.elements().try_for_each(|entry| self.entry(entry))?;
                }
                "object" if !member.value.is_array() && !member.value.is_object() => {}
                _ => rest.push(member),
            }
        }
        // Of these nothing is known.
        if self.items.iter().all(|item| item.kind == Kind::Other && matches!(item.mapping, Mapping::Unmapped))
        {
            return None;
        }
        self.members(&rest)
    }

    fn entry(&mut self, entry: Json) -> Option<()> {
        let mut rest = Vec::new();
        let mut has_changes = false;
        for member in entry.members() {
            match &*member.name {
                "changes" if member.value.is_array() => {
                    for change in member.value.elements() {
                        has_changes = true;
                        self.change(change)?;
                    }
                }
                "id" | "time" if !member.value.is_array() && !member.value.is_object() => {}
                _ => rest.push(member),
            }
        }
        if has_changes { self.members(&rest) } else { self.as_it_came(entry, Mapping::Unmapped) }
    }

    fn change(&mut self, json: Json) -> Option<()> {
        let Some(change) = Envelope::read(json) else {
            return self.as_it_came(json, Mapping::Unmapped);
        };
        if !change.values.iter().any(|value| value.has_elements()) {
            return self.as_it_came(json, Mapping::NotAMessage);
        }
        for value in &change.values {
            self.value(&change, value)?;
        }
        self.members(&change.rest)
    }

    fn value(&mut self, change: &Envelope, value: &Value) -> Option<()> {
        let contacts = value.contacts();
        let mut used = vec![false; contacts.count()];
        for array in &value.arrays {
            let kind = match (&*change.field, &*array.name) {
                ("messages", "messages") => Kind::Message,
                ("messages", "statuses") => Kind::Status,
                _ => Kind::Other,
            };
            for element in array.value.elements() {
                let contact = contacts.of(element);
                if let Some(at) = contact {
                    used[at] = true;
                }
                let original = change.with_element(value, contact.map(|at| contacts.get(at)), array, element);
                let id = element.get("id").and_then(Json::string).filter(|id| !id.is_empty());
                let mapping = match kind {
                    Kind::Message => mapping::map(element, value.metadata),
                    _ => Mapping::NotAMessage,
                };
                let item = match id {
                    Some(id) => {
                        let key = key::of_element(&change.field, &array.name, &id, element.text());
                        Item { kind, key, id: Some(id.into_owned()), original, mapping }
                    }
                    None => Item { kind, ..self.without_id(original, mapping) },
                };
                self.push(item)?;
            }
        }
        let left: Vec<_> = (0..used.len()).filter(|at| !used[*at]).map(|at| contacts.get(at)).collect();
        match change.with_rest(value, &left) {
            Some(rest) => self.push(self.without_id(rest, Mapping::NotAMessage)),
            None => Some(()),
        }
    }

    fn as_it_came(&mut self, json: Json, mapping: Mapping) -> Option<()> {
        self.push(self.without_id(json.text().as_bytes().into(), mapping))
    }

    /// What stands where nothing was expected.
    fn members(&mut self, members: &[Member]) -> Option<()> {
        if members.is_empty() {
            return Some(());
        }
        let members: Vec<_> = members.iter().map(Member::text).collect();
        let original = format!("{{{}}}", members.join(",")).into_bytes();
        self.push(self.without_id(original.into(), Mapping::NotAMessage))
    }

    fn without_id(&self, original: Box<[u8]>, mapping: Mapping) -> Item {
        let body = self.body_hash.get_or_init(|| Sha256::digest(self.body).into());
        Item { kind: Kind::Other, key: key::without_id(body, &original), id: None, original, mapping }
    }

    fn push(&mut self, item: Item) -> Option<()> {
        self.bytes += item.original.len();
        self.items.push(item);
        (self.items.len() <= MAX_ITEMS && self.bytes <= MAX_ORIGINALS_BYTES).then_some(())
    }
}
