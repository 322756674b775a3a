//! The keys of webhooks stand here with the API token, as they hold now: a reload replaces them while requests go on.

use std::sync::{Arc, PoisonError, RwLock};

use crate::signature::Keys;

/// The keys and the token. `Debug` shows neither.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Secret and previous secret; `None` while no secret is set.
    pub keys: Option<Keys>,
    /// What `Authorization: Bearer` must carry on queries and scrapes, if anything.
    pub api_token: Option<Vec<u8>>,
}

impl Secrets {
    /// True if all that was set before is set still. A reload that takes something away is a mistake: it
    /// would turn senders away, or open to everybody what was guarded.
    pub fn hold_what(&self, before: &Self) -> bool {
        (self.keys.is_some() || before.keys.is_none())
            && (self.api_token.is_some() || before.api_token.is_none())
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// The secrets that hold now. A request takes them once, so that it is judged by one set from its
/// beginning to its end.
#[derive(Debug)]
pub struct CurrentSecrets(RwLock<Arc<Secrets>>);

impl CurrentSecrets {
    pub fn new(secrets: Secrets) -> Self {
        Self(RwLock::new(Arc::new(secrets)))
    }

    pub fn get(&self) -> Arc<Secrets> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, secrets: Secrets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(secret: &[u8], token: Option<&[u8]>) -> Secrets {
        Secrets { keys: Keys::new(secret, b""), api_token: token.map(<[u8]>::to_vec) }
    }

    #[test]
    fn secrets_may_be_changed_and_added_and_not_taken_away() {
        let both = secrets(b"one", Some(b"token"));
        assert!(secrets(b"two", Some(b"other")).hold_what(&both));
        assert!(both.hold_what(&secrets(b"", None)));
        assert!(!secrets(b"", Some(b"token")).hold_what(&both));
        assert!(!secrets(b"one", None).hold_what(&both));
    }

    #[test]
    fn whoever_has_begun_with_the_old_ones_goes_on_with_them() {
        let current = CurrentSecrets::new(secrets(b"one", Some(b"first")));
        let taken = current.get();
        current.replace(secrets(b"one", Some(b"second")));
        assert_eq!(taken.api_token.as_deref(), Some(b"first".as_slice()));
        assert_eq!(current.get().api_token.as_deref(), Some(b"second".as_slice()));
    }
}
