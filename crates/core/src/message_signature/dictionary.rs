//! Strict dictionaries of structured fields (RFC 8941 §3.2).
//!
//! A key that occurs twice is an error. RFC 8941 takes the last value instead, so that two parsers
//! could read one field differently.

use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItem, BareItemFromInput, ItemSerializer, Key, KeyRef, ListSerializer};
use sfv::{Parser, Version};

use super::trim_ows;
use crate::limits::MAX_CANDIDATES;

/// Maximum number of items in a list, and of parameters of one item or list. Each is compared with
/// all before it, so the work is quadratic.
const MAX_ITEMS: usize = 64;

/// The reason why a dictionary is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DictionaryError {
    /// The syntax is wrong, or a limit of items or parameters is exceeded.
    Malformed,
    /// A key occurs twice.
    Repeated,
    /// There are more than [`MAX_CANDIDATES`] members.
    TooMany,
}

impl fmt::Display for DictionaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the dictionary is malformed",
            Self::Repeated => "a key of the dictionary is repeated",
            Self::TooMany => "the dictionary has too many members",
        })
    }
}

impl std::error::Error for DictionaryError {}

/// A member of a dictionary: `key=value;parameters`.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) value: Value,
    pub(super) parameters: Parameters,
}

/// The value of a member.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Item(BareItem),
    List(Vec<Item>),
}

/// An item of an inner list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: BareItem,
    pub(super) parameters: Parameters,
}

/// Parameters in their order, without duplicates.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(Vec<(Key, BareItem)>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&BareItem> {
        let mut all = self.0.iter();
        all.find_map(|(key, value)| (key.as_str() == name).then_some(value))
    }

    /// Appends a parameter.
    ///
    /// # Errors
    ///
    /// Returns [`DictionaryError::Malformed`] if `key` is present or the limit is reached.
    pub(super) fn push(&mut self, key: &KeyRef, value: BareItem) -> Result<(), DictionaryError> {
        if self.0.len() == MAX_ITEMS || self.get(key.as_str()).is_some() {
            return Err(DictionaryError::Malformed);
        }
        self.0.push((key.to_owned(), value));
        Ok(())
    }

    pub(super) fn as_slice(&self) -> &[(Key, BareItem)] {
        &self.0
    }

    fn pairs(&self) -> impl Iterator<Item = (&Key, &BareItem)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl Item {
    /// Writes the item in the canonical form of RFC 8941 §4.1.3.
    pub(super) fn write(&self, to: &mut String) {
        let item = ItemSerializer::with_buffer(to).bare_item(&self.value);
        _ = item.parameters(self.parameters.pairs());
    }
}

/// Writes an inner list in the canonical form of RFC 8941 §4.1.1.1.
pub(super) fn write_list(items: &[Item], parameters: &Parameters, to: &mut String) {
    let mut list = ListSerializer::with_buffer(to);
    let mut inner = list.inner_list();
    for item in items {
        let written = inner.bare_item(&item.value);
        _ = written.parameters(item.parameters.pairs());
    }
    _ = inner.finish().parameters(parameters.pairs());
}

/// Joins the lines of a field to one value (RFC 9110 §5.2). Returns `None` if the field is absent.
pub(super) fn combined_value(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut value = trim_ows(lines.next()?.as_bytes()).to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(trim_ows(line.as_bytes()));
    }
    Some(value)
}

/// Reads the dictionary in the field `name`. Returns `None` if the field is absent.
///
/// # Errors
///
/// Returns a [`DictionaryError`] if the field is present and is not a strict dictionary.
pub(super) fn read(
    headers: &HeaderMap,
    name: &HeaderName,
) -> Result<Option<Vec<Member>>, DictionaryError> {
    let Some(value) = combined_value(headers, name) else {
        return Ok(None);
    };
    let mut reader = DictionaryReader::default();
    // RFC 9421 predates the dates and display strings of RFC 9651.
    let parser = Parser::new(&value).with_version(Version::Rfc8941);
    match parser.parse_dictionary_with_visitor(&mut reader) {
        Ok(()) => Ok(Some(reader.members)),
        Err(_) => Err(reader.error.unwrap_or(DictionaryError::Malformed)),
    }
}

#[derive(Default)]
struct DictionaryReader {
    members: Vec<Member>,
    /// The error of a visitor. The parser keeps only its text.
    error: Option<DictionaryError>,
}

impl<'de> DictionaryVisitor<'de> for &mut DictionaryReader {
    type Out = ();
    type Error = DictionaryError;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, DictionaryError> {
        let index = self.members.len();
        if self.members.iter().any(|member| member.key == *key) {
            self.error = Some(DictionaryError::Repeated);
        } else if index == MAX_CANDIDATES {
            self.error = Some(DictionaryError::TooMany);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        self.members.push(Member {
            key: key.to_owned(),
            value: Value::List(Vec::new()),
            parameters: Parameters::default(),
        });
        Ok(&mut self.members[index])
    }

    fn finish(self) -> Result<(), DictionaryError> {
        Ok(())
    }
}

impl<'de> EntryVisitor<'de> for &mut Member {
    type Error = DictionaryError;

    fn item(self) -> Result<impl ItemVisitor<'de>, DictionaryError> {
        let member: &mut Member = self;
        Ok(move |item: BareItemFromInput<'de>| {
            let member = member;
            member.value = Value::Item(item.into());
            Ok::<_, DictionaryError>(&mut member.parameters)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, DictionaryError> {
        match &mut self.value {
            Value::List(items) => Ok(ListReader {
                items,
                parameters: &mut self.parameters,
            }),
            Value::Item(_) => Err(DictionaryError::Malformed),
        }
    }
}

struct ListReader<'m> {
    items: &'m mut Vec<Item>,
    parameters: &'m mut Parameters,
}

impl<'de> InnerListVisitor<'de> for ListReader<'_> {
    type Error = DictionaryError;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, DictionaryError> {
        let index = self.items.len();
        if index == MAX_ITEMS {
            return Err(DictionaryError::Malformed);
        }
        let items = &mut *self.items;
        Ok(move |item: BareItemFromInput<'de>| {
            let items = items;
            items.push(Item {
                value: item.into(),
                parameters: Parameters::default(),
            });
            Ok::<_, DictionaryError>(&mut items[index].parameters)
        })
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, DictionaryError> {
        Ok(self.parameters)
    }
}

impl<'de> ParameterVisitor<'de> for &mut Parameters {
    type Out = ();
    type Error = DictionaryError;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), DictionaryError> {
        self.push(key, value.into())
    }

    fn finish(self) -> Result<(), DictionaryError> {
        Ok(())
    }
}
