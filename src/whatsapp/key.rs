//! The key of an item is a hash of what makes it the same wherever it comes again.

use sha2::{Digest, Sha256};

use super::ItemKey;
use super::json::Json;

/// Of an element with an id: the same in another batch, or beside another contact, is the same.
pub(super) fn of_element(field: &str, array: &str, id: &str, element: &str) -> ItemKey {
    ItemKey { id: first(&hash_id(field, array, id)), content: first(&Sha256::digest(element).into()) }
}

/// Of what has no id: the same twice in one body is one item, in two bodies it is two.
pub(super) fn without_id(body: &[u8; 32], original: &[u8]) -> ItemKey {
    ItemKey { id: first(body), content: first(&Sha256::digest(original).into()) }
}

/// The half of the key that the item of a message has.
pub fn message_key(message_id: &str) -> [u8; 8] {
    first(&hash_id("messages", "messages", message_id))
}

/// Whether an item holds what this half of its key was made of: one element of what stands in it, or all of it.
pub fn has_content(original: &[u8], content: &[u8]) -> bool {
    let is_it = |text: &[u8]| Sha256::digest(text).starts_with(content);
    let has_element = || {
        let value = Json::read(original)?.get("value")?;
        let elements = value.members().flat_map(|array| array.value.elements());
        Some(elements.into_iter().any(|element| is_it(element.text().as_bytes())))
    };
    is_it(original) || has_element().unwrap_or(false)
}

fn hash_id(field: &str, array: &str, id: &str) -> [u8; 32] {
    // The lengths say where one ends.
    let mut hash = Sha256::new();
    for part in [field, array] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.chain_update(id).finalize().into()
}

fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&hash[..N]);
    part
}
