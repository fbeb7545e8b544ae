//! Dictionaries of structured fields (RFC 8941 §3.2) that have one reading: a
//! key that occurs twice is a fault, where the RFC takes the last.

use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItem, BareItemFromInput, ItemSerializer, Key, KeyRef, ListSerializer};
use sfv::{Parser, Version};

use crate::limits::MAX_CANDIDATES;

/// Most items of a list, and most parameters of anything. Every one is compared
/// with those before it.
const MOST: usize = 64;

/// What is wrong with a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed,
    /// A key that occurs twice.
    Repeated,
    /// More members than there may be signatures.
    TooMany,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Fault {}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) value: Value,
    pub(super) parameters: Parameters,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Item(BareItem),
    List(Vec<Item>),
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: BareItem,
    pub(super) parameters: Parameters,
}

/// Parameters in their order, none twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(Vec<(Key, BareItem)>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&BareItem> {
        let mut all = self.0.iter();
        all.find_map(|(key, value)| (key.as_str() == name).then_some(value))
    }

    pub(super) fn push(&mut self, key: &KeyRef, value: BareItem) -> Result<(), Fault> {
        if self.0.len() == MOST || self.get(key.as_str()).is_some() {
            return Err(Fault::Malformed);
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
    /// Writes the item in the one form of RFC 8941 §4.1.3.
    pub(super) fn write(&self, to: &mut String) {
        let item = ItemSerializer::with_buffer(to).bare_item(&self.value);
        _ = item.parameters(self.parameters.pairs());
    }
}

/// Writes an inner list in the one form of RFC 8941 §4.1.1.1.
pub(super) fn write_list(items: &[Item], parameters: &Parameters, to: &mut String) {
    let mut list = ListSerializer::with_buffer(to);
    let mut inner = list.inner_list();
    for item in items {
        let written = inner.bare_item(&item.value);
        _ = written.parameters(item.parameters.pairs());
    }
    _ = inner.finish().parameters(parameters.pairs());
}

/// The lines of a field as one value (RFC 9110 §5.2); none if there are none.
pub(super) fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut value = trim(lines.next()?.as_bytes()).to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(trim(line.as_bytes()));
    }
    Some(value)
}

/// A line of a field without the blanks around it, which are not part of its value.
pub(crate) fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// The dictionary in the field `name`; none if the field is absent.
pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<Member>>, Fault> {
    let Some(value) = combined(headers, name) else {
        return Ok(None);
    };
    let mut reader = Reader::default();
    // RFC 9421 is of the time before dates and display strings.
    let parser = Parser::new(&value).with_version(Version::Rfc8941);
    match parser.parse_dictionary_with_visitor(&mut reader) {
        Ok(()) => Ok(Some(reader.members)),
        Err(_) => Err(reader.fault.unwrap_or(Fault::Malformed)),
    }
}

#[derive(Default)]
struct Reader {
    members: Vec<Member>,
    /// The parser keeps the text of an error of ours, and not the error.
    fault: Option<Fault>,
}

impl<'de> DictionaryVisitor<'de> for &mut Reader {
    type Out = ();
    type Error = Fault;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Fault> {
        let index = self.members.len();
        if self.members.iter().any(|member| member.key == *key) {
            self.fault = Some(Fault::Repeated);
        } else if index == MAX_CANDIDATES {
            self.fault = Some(Fault::TooMany);
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.members.push(Member {
            key: key.to_owned(),
            value: Value::List(Vec::new()),
            parameters: Parameters::default(),
        });
        Ok(&mut self.members[index])
    }

    fn finish(self) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'de> EntryVisitor<'de> for &mut Member {
    type Error = Fault;

    fn item(self) -> Result<impl ItemVisitor<'de>, Fault> {
        let member: &mut Member = self;
        Ok(move |item: BareItemFromInput<'de>| {
            let member = member;
            member.value = Value::Item(item.into());
            Ok::<_, Fault>(&mut member.parameters)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Fault> {
        match &mut self.value {
            Value::List(items) => Ok(ListReader {
                items,
                parameters: &mut self.parameters,
            }),
            Value::Item(_) => Err(Fault::Malformed),
        }
    }
}

struct ListReader<'m> {
    items: &'m mut Vec<Item>,
    parameters: &'m mut Parameters,
}

impl<'de> InnerListVisitor<'de> for ListReader<'_> {
    type Error = Fault;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Fault> {
        let index = self.items.len();
        if index == MOST {
            return Err(Fault::Malformed);
        }
        let items = &mut *self.items;
        Ok(move |item: BareItemFromInput<'de>| {
            let items = items;
            items.push(Item {
                value: item.into(),
                parameters: Parameters::default(),
            });
            Ok::<_, Fault>(&mut items[index].parameters)
        })
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Fault> {
        Ok(self.parameters)
    }
}

impl<'de> ParameterVisitor<'de> for &mut Parameters {
    type Out = ();
    type Error = Fault;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Fault> {
        self.push(key, value.into())
    }

    fn finish(self) -> Result<(), Fault> {
        Ok(())
    }
}
