//! Signature fields: where a delivery carries its signatures, and the lists around them.

use std::borrow::Cow;
use std::iter;

use http::HeaderMap;
use memchr::memchr;
use smallvec::SmallVec;

use super::field::Encoding;
use super::location::{Item, Location, form_fields};
use super::lookup::{LookupError, exactly_one};
use crate::error::VerifyError;
use crate::head::Head;
use crate::limits::MAX_CANDIDATES;
use crate::mac::{Tag, TagLen};

/// The decoded candidate signatures of one message.
pub(crate) type Candidates = SmallVec<[Tag; 1]>;

/// The values that contain signatures, not yet decoded.
pub(crate) type Values<'h> = SmallVec<[Cow<'h, [u8]>; 1]>;

/// The location and the format of the signatures.
#[derive(Clone, Debug)]
pub(crate) struct SignatureField {
    pub(crate) location: SignatureLocation,
    pub(crate) prefix: Box<[u8]>,
    pub(crate) prefix_optional: bool,
    pub(crate) encoding: Encoding,
    pub(crate) list: Option<List>,
    /// The byte that separates groups. Each group is a list with signatures and other items of its
    /// own.
    pub(crate) groups: Option<u8>,
}

/// The location of the signatures.
#[derive(Clone, Debug)]
pub(crate) enum SignatureLocation {
    /// One or more locations. The verifier reads each location that has a value.
    Locations(Vec<Location>),
    /// `headers:PREFIX`: all headers whose names begin with the prefix.
    HeaderPrefix(String),
}

impl SignatureLocation {
    pub(crate) fn is_in_body(&self) -> bool {
        match self {
            Self::Locations(locations) => locations.iter().any(Location::is_in_body),
            Self::HeaderPrefix(_) => false,
        }
    }

    /// Whether `head` has a value at any of the locations, well-formed or not.
    pub(crate) fn occurs_in(&self, head: Head<'_>) -> bool {
        match self {
            Self::Locations(locations) => locations.iter().any(|location| match location {
                Location::Header(name) => head.headers.contains_key(name),
                Location::Query(name) => {
                    let query = head.uri.query().unwrap_or_default();
                    form_fields(query.as_bytes()).any(|(field, _)| *field == *name.as_bytes())
                }
                _ => false,
            }),
            Self::HeaderPrefix(prefix) => {
                let mut names = head.headers.keys();
                names.any(|name| name.as_str().starts_with(prefix))
            }
        }
    }
}

/// A list of items, such as `t=1,v1=ab,v1=cd`.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// The byte that separates items.
    pub(crate) items: u8,
    pub(crate) trim: Trim,
    pub(crate) kind: ListKind,
    pub(crate) writing: ListWriting,
}

/// How a signer writes a list, where a verifier allows several forms.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListWriting {
    /// Whether a blank follows each separator.
    pub(crate) spaced: bool,
    /// The parameter whose value is the name of the signature.
    pub(crate) named_by: Option<Location>,
}

/// The bytes that are removed from the ends of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trim {
    Nothing,
    /// Blanks around the item.
    Blanks,
    /// Blanks around the item, and then this byte at its end, once.
    BlanksAndEnd(u8),
}

impl Trim {
    #[inline]
    fn apply(self, item: &[u8]) -> &[u8] {
        match self {
            Self::Nothing => item,
            Self::Blanks => item.trim_ascii(),
            Self::BlanksAndEnd(end) => {
                let item = item.trim_ascii();
                item.strip_suffix(&[end]).unwrap_or(item)
            }
        }
    }
}

/// The rule that tells signatures from the other items of a list.
#[derive(Clone, Debug)]
pub(crate) enum ListKind {
    /// Each item has a name. The items named `name` are signatures; without a `name`, all are.
    Named { pair: u8, name: Option<Box<[u8]>> },
    /// Items have no names. All items after the first `skip` are signatures.
    Positional { skip: usize },
    /// The list is a JSON object in base64, and its member `name` is the signature.
    Object { name: Box<str> },
}

/// Longest JSON object in a signature header, in bytes.
const MAX_OBJECT: usize = 8 * 1024;

/// Returns the text of the member `name` of a JSON object in base64.
fn member(value: &[u8], name: &str) -> Result<Vec<u8>, LookupError> {
    let mut object = Tag::default();
    Encoding::Base64
        .decode_to(value, TagLen::AtMost(MAX_OBJECT), &mut object)
        .ok_or(LookupError::Malformed)?;
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(object.bytes()).map_err(|_| LookupError::Malformed)?;
    match object.get(name) {
        Some(serde_json::Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(_) => Err(LookupError::Malformed),
        None => Err(LookupError::Missing),
    }
}

impl List {
    fn items<'v>(&self, value: &'v [u8]) -> impl Iterator<Item = &'v [u8]> {
        let (items, trim) = (self.items, self.trim);
        split(value, Some(items)).map(move |item| trim.apply(item))
    }

    /// Returns the name and value of each item that has both. Items without a name are skipped, as
    /// the libraries of such providers do.
    fn pairs<'v>(&self, value: &'v [u8], pair: u8) -> impl Iterator<Item = (&'v [u8], &'v [u8])> {
        self.items(value).filter_map(move |item| {
            let at = memchr(pair, item)?;
            Some((&item[..at], &item[at + 1..]))
        })
    }

    /// Returns the only item in `value` that `item` denotes.
    pub(crate) fn item<'v>(
        &self,
        value: &'v [u8],
        item: &Item,
    ) -> Result<Cow<'v, [u8]>, LookupError> {
        match (&self.kind, item) {
            (ListKind::Named { pair, .. }, Item::Name(wanted)) => exactly_one(
                self.pairs(value, *pair)
                    .filter(|(name, _)| *name == wanted.as_bytes())
                    .map(|(_, value)| value),
            )
            .map(Cow::Borrowed),
            (ListKind::Positional { .. }, Item::Position(position)) => self
                .items(value)
                .nth(*position)
                .map(Cow::Borrowed)
                .ok_or(LookupError::Missing),
            (ListKind::Object { .. }, Item::Name(wanted)) => member(value, wanted).map(Cow::Owned),
            _ => Err(LookupError::Missing),
        }
    }

    /// Writes a list of `others` and the signature, which is named `own_name` if the scheme does
    /// not name it.
    pub(crate) fn write(
        &self,
        others: &[(Item, String)],
        own_name: Option<&str>,
        signature: &str,
    ) -> String {
        let items: Vec<String> = match &self.kind {
            ListKind::Positional { skip } => {
                let before = (0..*skip).map(|at| {
                    let mut others = others.iter();
                    let other = others.find(|(item, _)| *item == Item::Position(at));
                    other.map_or_else(String::new, |(_, value)| value.clone())
                });
                before.chain([signature.to_owned()]).collect()
            }
            ListKind::Named { pair, name } => {
                let pair = char::from(*pair);
                let own_name = own_name.unwrap_or("key").as_bytes();
                let name = String::from_utf8_lossy(name.as_deref().unwrap_or(own_name));
                let others = others.iter().filter_map(|(item, value)| match item {
                    Item::Name(name) => Some(format!("{name}{pair}{value}")),
                    Item::Position(_) => None,
                });
                others.chain([format!("{name}{pair}{signature}")]).collect()
            }
            ListKind::Object { name } => {
                let mut object = serde_json::Map::new();
                for (item, value) in others {
                    if let Item::Name(name) = item {
                        object.insert(name.to_string(), value.clone().into());
                    }
                }
                object.insert(name.to_string(), signature.into());
                let object = serde_json::Value::Object(object).to_string();
                return Encoding::Base64.encode(object.as_bytes());
            }
        };
        let separator = char::from(self.items);
        match self.writing.spaced {
            true => items.join(&format!("{separator} ")),
            false => items.join(&separator.to_string()),
        }
    }
}

/// Splits `value` at each separator. `memchr` searches several bytes at a time, which pays for the
/// length of a signature.
fn split(value: &[u8], separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    iter::from_fn(move || {
        let text = rest.take()?;
        match separator.and_then(|separator| memchr(separator, text)) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => Some(text),
        }
    })
}

impl SignatureField {
    /// Returns the values that contain signatures: at least one and at most [`MAX_CANDIDATES`].
    /// `read` looks up locations that are not headers.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::SignatureMissing`] if there is no value, and another `Signature…`
    /// error if a value is repeated, is not text, or is one too many.
    pub(crate) fn values<'h>(
        &self,
        headers: &'h HeaderMap,
        read: impl Fn(&Location) -> Result<Cow<'h, [u8]>, LookupError>,
    ) -> Result<Values<'h>, VerifyError> {
        let mut values = Values::new();
        let mut push = |value: Result<Cow<'h, [u8]>, LookupError>| match value {
            Ok(value) => {
                values.push(value);
                Ok(())
            }
            Err(LookupError::Missing) => Ok(()),
            Err(LookupError::Repeated) => Err(VerifyError::SignatureRepeated),
            Err(LookupError::Malformed) => Err(VerifyError::SignatureMalformed),
        };
        match &self.location {
            SignatureLocation::Locations(locations) => {
                for location in locations {
                    push(match location {
                        Location::Header(name) => exactly_one(headers.get_all(name).iter())
                            .map(|value| Cow::Borrowed(value.as_bytes())),
                        location => read(location),
                    })?;
                }
            }
            SignatureLocation::HeaderPrefix(prefix) => {
                for name in headers.keys() {
                    if name.as_str().starts_with(prefix) {
                        let value = exactly_one(headers.get_all(name).iter());
                        push(value.map(|value| Cow::Borrowed(value.as_bytes())))?;
                    }
                }
            }
        }
        match values.len() {
            0 => Err(VerifyError::SignatureMissing),
            1..=MAX_CANDIDATES => Ok(values),
            _ => Err(VerifyError::SignatureTooMany),
        }
    }

    /// Whether one of `headers` carries a signature, or signatures are in another place.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        match &self.location {
            SignatureLocation::Locations(locations) => locations.iter().any(|location| {
                !matches!(location, Location::Header(name) if !headers.contains_key(name))
            }),
            SignatureLocation::HeaderPrefix(_) => true,
        }
    }

    /// Splits `value` into groups. Without groups in the scheme, `value` is the only one.
    pub(crate) fn groups<'v>(&self, value: &'v [u8]) -> impl Iterator<Item = &'v [u8]> {
        split(value, self.groups)
    }

    /// Decodes the signatures in `value` into `candidates`.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::SignatureVersionUnknown`] if the list has only signatures of other
    /// names. Returns [`VerifyError::SignatureMalformed`] if a signature is missing or does not
    /// decode, and [`VerifyError::SignatureTooMany`] past [`MAX_CANDIDATES`].
    pub(crate) fn candidates(
        &self,
        value: &[u8],
        len: TagLen,
        candidates: &mut Candidates,
    ) -> Result<(), VerifyError> {
        let mut push = |text: &[u8]| {
            if candidates.len() == MAX_CANDIDATES {
                return Err(VerifyError::SignatureTooMany);
            }
            let text = self.without_prefix(text);
            let text = text.ok_or(VerifyError::SignatureMalformed)?;
            candidates.push(Tag::default());
            let tag = candidates.last_mut();
            let decoded = tag.and_then(|tag| self.encoding.decode_to(text, len, tag));
            decoded.ok_or(VerifyError::SignatureMalformed)
        };
        let Some(list) = &self.list else {
            return push(value);
        };
        let mut found = false;
        let mut other_versions = false;
        match &list.kind {
            ListKind::Positional { skip } => {
                for text in list.items(value).skip(*skip) {
                    push(text)?;
                    found = true;
                }
            }
            ListKind::Named { pair, name } => {
                for (other, text) in list.pairs(value, *pair) {
                    if name.as_deref().is_none_or(|name| name == other) {
                        push(text)?;
                        found = true;
                    } else {
                        other_versions = true;
                    }
                }
            }
            ListKind::Object { name } => {
                let text = member(value, name).map_err(|_| VerifyError::SignatureMalformed)?;
                return push(&text);
            }
        }
        if found {
            Ok(())
        } else if other_versions {
            Err(VerifyError::SignatureVersionUnknown)
        } else {
            Err(VerifyError::SignatureMalformed)
        }
    }

    /// Returns `text` without the prefix, or `None` if a mandatory prefix is missing.
    pub(crate) fn without_prefix<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        match &*self.prefix {
            // An empty prefix is not compared: `memcmp` of an empty slice, whose pointer dangles,
            // may cost more than decoding the signature.
            [] => Some(text),
            prefix => match text.strip_prefix(prefix) {
                None if self.prefix_optional => Some(text),
                rest => rest,
            },
        }
    }

    /// Writes `tag` as the provider does, among the `others`.
    pub(crate) fn write(
        &self,
        others: &[(Item, String)],
        own_name: Option<&str>,
        tag: &[u8],
    ) -> String {
        let prefix = String::from_utf8_lossy(&self.prefix);
        let signature = format!("{prefix}{}", self.encoding.encode(tag));
        match &self.list {
            None => signature,
            Some(list) => list.write(others, own_name, &signature),
        }
    }
}
