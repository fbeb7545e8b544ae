//! The document that a reference selects inside of the pins.

use hookgate_core::internal::{FetchRule, KeyFormat};
use hookgate_core::{KeyReference, VerifyError};

use crate::address::Address;
use crate::settings::Pins;

/// Longest id of a key that may be a part of an address.
const MAX_ID_IN_ADDRESS: usize = 128;

/// A document, and the key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Identifies the document among those of a source.
    pub(crate) document: String,
    pub(crate) address: Address,
    /// The id of the key. For a certificate, the last segment of its path.
    pub(crate) key: Box<str>,
    pub(crate) content: Content,
    /// Whether a sender can name many documents, so that a budget must bound the requests.
    pub(crate) is_chosen_by_sender: bool,
}

/// The keys that a document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// All keys of the provider. A key that the document lacks may be a new one.
    AllKeys,
    /// The one key that the reference names.
    OneKey,
}

impl Target {
    /// Selects the document of `reference`.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::KeyReferenceRefused`] if the reference lies outside of the pins.
    pub(crate) fn select(
        reference: &KeyReference,
        rule: &FetchRule,
        pins: &Pins,
    ) -> Result<Self, VerifyError> {
        const REFUSED: VerifyError = VerifyError::KeyReferenceRefused;
        let content = match rule.format {
            KeyFormat::Jwks | KeyFormat::PemList => Content::AllKeys,
            _ => Content::OneKey,
        };
        if rule.is_named_by_deliveries() {
            let named = reference.url().and_then(Address::parse_named);
            let named = named.filter(|named| pins.allow(named)).ok_or(REFUSED)?;
            let segment = named.path().rsplit('/').next().unwrap_or_default();
            let address = match &pins.address {
                Some(address) => address.with_key(segment),
                None => named.clone(),
            };
            return Ok(Self {
                document: named.to_string(),
                address,
                key: reference.id().unwrap_or(segment).into(),
                content,
                is_chosen_by_sender: true,
            });
        }
        let address = pins.address.as_ref().ok_or(REFUSED)?;
        let key = reference.id().ok_or(REFUSED)?;
        if address.has_key() && !is_plain_id(key) {
            return Err(REFUSED);
        }
        let is_chosen_by_sender = content == Content::OneKey || address.has_key();
        let address = address.with_key(key);
        let document = match content {
            Content::AllKeys => address.to_string(),
            Content::OneKey => format!("{address} {key}"),
        };
        Ok(Self {
            document,
            address,
            key: key.into(),
            content,
            is_chosen_by_sender,
        })
    }
}

impl Pins {
    /// Whether a delivery may name this address.
    fn allow(&self, named: &Address) -> bool {
        self.hosts.iter().any(|host| host.matches(named.host()))
            && self
                .path
                .as_ref()
                .is_some_and(|path| path.matches(named.path()))
    }
}

/// Whether `id` is one segment of a path in every reading of the address.
fn is_plain_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_ID_IN_ADDRESS).contains(&id.len())
        && id.bytes().all(is_plain)
        && id.bytes().any(|byte| byte != b'.')
}
