//! A change is Meta's envelope around the elements that came together: one field, one business, several arrays.

use std::borrow::Cow;
use std::collections::HashMap;

use super::json::{Json, Member};
use super::{MAX_BODY_BYTES, digits};

/// What is repeated for each element, the metadata of the business (Meta's: 80 bytes) or a contact (200), is always
/// repeated up to this length; a longer one where all the elements of its value together take no more than a body of it.
const MAX_CONTEXT_BYTES: usize = 2048;
/// More contacts than elements that Meta puts into a body; where there are more they stay together.
const MAX_CONTACTS: usize = 10_000;

/// Members of an element that say whose it is, and so which contact belongs to it.
const OWNERS: [&str; 9] = [
    "from",
    "from_user_id",
    "recipient_id",
    "recipient_user_id",
    "recipient_participant_id",
    "wa_id",
    "user_id",
    "to",
    "parent_user_id",
];

pub(super) struct Envelope<'a> {
    pub(super) field: Cow<'a, str>,
    raw_field: Option<Json<'a>>,
    /// One; but nobody forbids several.
    pub(super) values: Vec<Value<'a>>,
    pub(super) rest: Vec<Member<'a>>,
}

pub(super) struct Value<'a> {
    product: Option<Member<'a>>,
    /// Whole, also where it is too long to be repeated.
    pub(super) metadata: Option<Json<'a>>,
    elements: usize,
    contacts: Vec<Json<'a>>,
    pub(super) arrays: Vec<Member<'a>>,
    rest: Vec<Member<'a>>,
}

impl<'a> Envelope<'a> {
    /// `None` for what holds no value.
    pub(super) fn read(json: Json<'a>) -> Option<Self> {
        let mut change =
            Self { field: Cow::Borrowed(""), raw_field: None, values: Vec::new(), rest: Vec::new() };
        for member in json.members() {
            match &*member.name {
                "value" if member.value.is_object() => change.values.push(Value::read(member.value)),
                "field" => change.raw_field = Some(member.value),
                _ => change.rest.push(member),
            }
        }
        change.field = change.raw_field.and_then(Json::string).unwrap_or_default();
        (!change.values.is_empty()).then_some(change)
    }

    pub(super) fn with_element(
        &self,
        value: &Value,
        contact: Option<Json>,
        array: &Member,
        element: Json,
    ) -> Box<[u8]> {
        let contact = contact.map(|contact| format!("\"contacts\":[{}]", contact.text()));
        let element = format!("{}:[{}]", array.raw_name, element.text());
        self.around(value.context().chain(contact).chain([element]))
    }

    /// What no element was put together with. `None` where there is nothing.
    pub(super) fn with_rest(&self, value: &Value, contacts: &[Json]) -> Option<Box<[u8]>> {
        if value.rest.is_empty() && contacts.is_empty() {
            return None;
        }
        let contacts: Vec<_> = contacts.iter().map(|contact| contact.text()).collect();
        let contacts = (!contacts.is_empty()).then(|| format!("\"contacts\":[{}]", contacts.join(",")));
        Some(self.around(value.context().chain(contacts).chain(value.rest.iter().map(Member::text))))
    }

    fn around(&self, members: impl Iterator<Item = String>) -> Box<[u8]> {
        let members: Vec<_> = members.collect();
        let field = self.raw_field.map_or_else(String::new, |field| format!(",\"field\":{}", field.text()));
        format!("{{\"value\":{{{}}}{field}}}", members.join(",")).into_bytes().into()
    }
}

impl<'a> Value<'a> {
    fn read(json: Json<'a>) -> Self {
        let (mut product, mut metadata): (Option<Member>, Option<Member>) = (None, None);
        let (mut contacts, mut arrays, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for member in json.members() {
            match &*member.name {
                "metadata" if member.value.is_object() => rest.extend(metadata.replace(member)),
                "messaging_product" if !member.value.is_array() => rest.extend(product.replace(member)),
                "contacts" if member.value.is_array() => {
                    let before = contacts.len();
                    contacts
                        .extend(member.value.elements().take(MAX_CONTACTS + 1 - before.min(MAX_CONTACTS)));
                    if contacts.len() > MAX_CONTACTS {
                        contacts.truncate(before);
                        rest.push(member);
                    }
                }
                _ if member.value.is_array() => arrays.push(member),
                _ => rest.push(member),
            }
        }
        let elements = arrays.iter().map(|array: &Member| array.value.elements().count()).sum();
        // What is too long to be repeated stands in the rest.
        rest.extend(metadata.clone().filter(|metadata| !is_short(metadata.value, elements)));
        rest.extend(product.take_if(|product| !is_short(product.value, elements)));
        Self { product, metadata: metadata.map(|metadata| metadata.value), elements, contacts, arrays, rest }
    }

    pub(super) fn has_elements(&self) -> bool {
        self.elements > 0
    }

    fn context(&self) -> impl Iterator<Item = String> {
        let metadata = self.metadata.filter(|metadata| is_short(*metadata, self.elements));
        let metadata = metadata.map(|metadata| format!("\"metadata\":{}", metadata.text()));
        self.product.as_ref().map(Member::text).into_iter().chain(metadata)
    }

    pub(super) fn contacts(&self) -> Contacts<'a, '_> {
        let mut owners = HashMap::new();
        for (at, contact) in self.contacts.iter().enumerate() {
            if !is_short(*contact, self.elements) {
                continue;
            }
            for member in contact.members().filter(|member| OWNERS.contains(&&*member.name)) {
                if let Some(owner) = member.value.string_or_number().and_then(|owner| normal(&owner)) {
                    owners.entry(owner).or_insert(at);
                }
            }
        }
        // Where one came with one, it is its own, whatever it says.
        let is_pair = self.elements == 1 && self.contacts.len() == 1;
        let fits = is_pair && is_short(self.contacts[0], self.elements);
        Contacts { all: &self.contacts, owners, only: fits.then_some(0) }
    }
}

/// The contacts of a value, and whose they are.
pub(super) struct Contacts<'a, 'v> {
    all: &'v [Json<'a>],
    owners: HashMap<String, usize>,
    only: Option<usize>,
}

impl<'a> Contacts<'a, '_> {
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, at: usize) -> Json<'a> {
        self.all[at]
    }

    /// The number of the one that belongs to an element.
    pub(super) fn of(&self, element: Json) -> Option<usize> {
        if self.owners.is_empty() {
            return self.only;
        }
        let mut found = [None; OWNERS.len()];
        for member in element.members() {
            if let Some(at) = OWNERS.iter().position(|owner| *owner == member.name) {
                let owner = member.value.string_or_number().and_then(|owner| normal(&owner));
                found[at] = owner.and_then(|owner| self.owners.get(&owner).copied());
            }
        }
        found.into_iter().flatten().next().or(self.only)
    }
}

/// It may be repeated for so many elements.
fn is_short(json: Json, elements: usize) -> bool {
    let bytes = json.text().len();
    bytes <= MAX_CONTEXT_BYTES || bytes.saturating_mul(elements) <= MAX_BODY_BYTES
}

/// A number as its digits, a user id as it is.
fn normal(owner: &str) -> Option<String> {
    let normal = if owner.contains(char::is_alphabetic) { owner.to_owned() } else { digits(owner) };
    (!normal.is_empty()).then_some(normal)
}
