//! The current secrets judge each request; a reload replaces them while requests go on.

use std::sync::{Arc, PoisonError, RwLock};

use crate::signature::Keys;

/// Keys and tokens. `Debug` shows none.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Secret and previous secret; `None` while no secret is set.
    pub keys: Option<Keys>,
    /// What `Authorization: Bearer` must carry on queries and scrapes, if anything.
    pub api_token: Option<Vec<u8>>,
    /// `None` where no setting of WhatsApp's is set: then its routes are not there.
    pub whatsapp: Option<WhatsappSecrets>,
}

/// What Meta is known by (contract, section 14).
#[derive(Clone, Default)]
pub struct WhatsappSecrets {
    /// App secret and previous app secret; `None` while no app secret is set.
    pub keys: Option<Keys>,
    /// What `hub.verify_token` must carry; nothing is verified while it is not set.
    pub verify_token: Option<String>,
}

impl Secrets {
    /// Why nothing can be taken in, where no key is set: those of one sender are enough to be ready.
    pub fn lack(&self) -> Option<&'static str> {
        match (&self.keys, &self.whatsapp) {
            (Some(_), _) | (None, Some(WhatsappSecrets { keys: Some(_), .. })) => None,
            (None, Some(_)) => Some("neither WEBHOOK_SECRET nor WHATSAPP_APP_SECRET is set"),
            (None, None) => Some("WEBHOOK_SECRET is not set"),
        }
    }

    /// True if every secret that was set before is still set. A reload that takes something away is a mistake: it
    /// would turn senders away, or open to everybody what was guarded.
    pub fn cover(&self, before: &Self) -> bool {
        let whatsapp = |secrets: &Self| secrets.whatsapp.clone().unwrap_or_default();
        let (now, then) = (whatsapp(self), whatsapp(before));
        holds(&self.keys, &before.keys)
            && holds(&self.api_token, &before.api_token)
            && holds(&self.whatsapp, &before.whatsapp)
            && holds(&now.keys, &then.keys)
            && holds(&now.verify_token, &then.verify_token)
    }
}

fn holds<T>(now: &Option<T>, before: &Option<T>) -> bool {
    now.is_some() || before.is_none()
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
        Secrets { keys: Keys::new(secret, b""), api_token: token.map(<[u8]>::to_vec), whatsapp: None }
    }

    fn of_whatsapp(secret: &[u8], verify_token: Option<&str>) -> Secrets {
        let verify_token = verify_token.map(str::to_owned);
        let whatsapp = Some(WhatsappSecrets { keys: Keys::new(secret, b""), verify_token });
        Secrets { whatsapp, ..Secrets::default() }
    }

    #[test]
    fn secrets_may_be_changed_and_added_and_not_taken_away() {
        let both = secrets(b"one", Some(b"token"));
        assert!(secrets(b"two", Some(b"other")).cover(&both));
        assert!(both.cover(&secrets(b"", None)));
        assert!(!secrets(b"", Some(b"token")).cover(&both));
        assert!(!secrets(b"one", None).cover(&both));
        let both = of_whatsapp(b"one", Some("token"));
        assert!(of_whatsapp(b"two", Some("other")).cover(&both));
        assert!(both.cover(&of_whatsapp(b"", None)) && both.cover(&secrets(b"", None)));
        for less in
            [of_whatsapp(b"", Some("token")), of_whatsapp(b"one", None), secrets(b"one", Some(b"token"))]
        {
            assert!(!less.cover(&both));
        }
        assert!(!secrets(b"", None).cover(&of_whatsapp(b"", None)), "the routes would go");
    }

    #[test]
    fn a_key_of_either_sender_is_enough_to_take_something_in() {
        assert_eq!(secrets(b"one", None).lack(), None);
        assert_eq!(of_whatsapp(b"one", None).lack(), None);
        assert!(secrets(b"", Some(b"token")).lack().is_some_and(|lack| !lack.contains("WHATSAPP")));
        assert!(of_whatsapp(b"", Some("token")).lack().is_some_and(|lack| lack.contains("WHATSAPP")));
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
