//! The values of placeholders and locations in a delivery.

use std::borrow::Cow;
use std::cell::OnceCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::context::{Context, Port};
use super::jwt::Claims;
use super::text::Text;
use crate::error::VerifyError;
use crate::head::Head;
use crate::mac;
use crate::message_signature::{MessageSignature, trim_ows};
use crate::scheme::field::contains_any;
use crate::scheme::handshake::{Condition, ResponseType};
use crate::scheme::json::{self, FoundTexts, Pointer};
use crate::scheme::location::{self, Item, Location};
use crate::scheme::lookup::{LookupError, exactly_one};
use crate::scheme::template::{Filter, IfAbsent, Placeholder, Segment, Variable};
use crate::scheme::{Plan, SignatureKind};

/// Most headers that an item may list.
const MAX_HEADERS_OF: usize = 64;
/// Most fields of a form that are sorted.
const MAX_FIELDS: usize = 4096;

pub(super) type Found<'a> = Result<Cow<'a, [u8]>, LookupError>;

impl From<LookupError> for VerifyError {
    fn from(absence: LookupError) -> Self {
        match absence {
            LookupError::Missing => Self::FieldMissing,
            LookupError::Repeated => Self::FieldRepeated,
            LookupError::Malformed => Self::FieldMalformed,
        }
    }
}

/// What is known of a delivery before its body is.
#[derive(Clone, Copy)]
pub(super) struct HeadView<'h> {
    pub(super) head: Head<'h>,
    pub(super) context: &'h Context,
    /// The list of the signature header that `sig:` means.
    pub(super) list: Option<&'h [u8]>,
    pub(super) claims: Option<&'h Claims>,
    /// The parameters of a message signature, which `sig:` means there.
    pub(super) signature: Option<&'h MessageSignature>,
    pub(super) port: Port,
    /// The texts of the timestamp and of the id, where they have been looked up.
    pub(super) timestamp: Option<&'h [u8]>,
    pub(super) id: Option<&'h [u8]>,
    /// None where there is no delivery, but a handshake.
    pub(super) plan: Option<&'h Plan>,
}

impl<'h> HeadView<'h> {
    pub(super) fn at(&self, location: &Location) -> Found<'h> {
        match location {
            Location::Header(name) => self.header(name),
            Location::Query(name) => {
                let query = self.head.uri.query().unwrap_or_default();
                field(query.as_bytes(), name)
            }
            Location::Signature(item) => match self.signature {
                Some(signature) => parameter(signature, item),
                None => self.item(item).map(Cow::Borrowed),
            },
            Location::Claim(name) => {
                let claim = self.claims.and_then(|claims| claims.text(name));
                claim
                    .map(|text| text.into_bytes().into())
                    .ok_or(LookupError::Missing)
            }
            Location::Param(name) => param(self.context, name),
            Location::Form(_) | Location::Json(_) => Err(LookupError::Missing),
        }
    }

    fn header(&self, name: &HeaderName) -> Found<'h> {
        let value = exactly_one(self.head.headers.get_all(name).iter())?.as_bytes();
        // As it is signed (RFC 9421 §2.1): blanks that somebody adds, which HTTP/2 does not take
        // off, must not make another event of it.
        let is_trimmed = self
            .plan
            .is_some_and(|plan| matches!(plan.kind, SignatureKind::MessageSignature(_)));
        Ok(Cow::Borrowed(match is_trimmed {
            true => trim_ows(value),
            false => value,
        }))
    }

    fn item(&self, item: &Item) -> Result<&'h [u8], LookupError> {
        let list = self.plan.and_then(|plan| plan.signature.list.as_ref());
        let list = list.ok_or(LookupError::Missing)?;
        list.item(self.list.ok_or(LookupError::Missing)?, item)
    }

    pub(super) fn value(&self, variable: &Variable) -> Found<'h> {
        match (variable, self.timestamp, self.id) {
            (Variable::Timestamp, Some(text), _) | (Variable::Id, _, Some(text)) => {
                return Ok(text.into());
            }
            _ => {}
        }
        let uri = self.head.uri;
        let query = || uri.query();
        let path = || match &self.context.address {
            Some(address) => address.path(),
            None => uri.path(),
        };
        Ok(match variable {
            Variable::Timestamp => {
                let timestamp = self.plan.and_then(|plan| plan.timestamp.as_ref());
                return self.at(&timestamp.ok_or(LookupError::Missing)?.location);
            }
            Variable::Id => {
                let id = self.plan.and_then(|plan| plan.id.as_ref());
                return self.at(id
                    .and_then(|id| id.locations.first())
                    .ok_or(LookupError::Missing)?);
            }
            Variable::Method => Cow::Borrowed(self.head.method.as_str().as_bytes()),
            Variable::Url => {
                let address = self.context.address.as_ref().ok_or(LookupError::Missing)?;
                let rule = &self.plan.ok_or(LookupError::Missing)?.url;
                address
                    .with_query(query(), self.port, rule)
                    .into_bytes()
                    .into()
            }
            Variable::UrlBase => {
                let address = self.context.address.as_ref().ok_or(LookupError::Missing)?;
                address.base(self.port).into_bytes().into()
            }
            Variable::Path => path().as_bytes().to_vec().into(),
            Variable::PathQuery => {
                let mut target = path().to_owned();
                if let Some(query) = query() {
                    target.push('?');
                    target.push_str(query);
                }
                target.into_bytes().into()
            }
            Variable::HeadersOf(item) => {
                let mut names = Vec::new();
                let mut joined = Vec::new();
                for name in self.item(item)?.split(|byte| *byte == b' ') {
                    let name = HeaderName::from_bytes(name).map_err(|_| LookupError::Malformed)?;
                    // Each once: together they are no longer than the head then.
                    if names.len() == MAX_HEADERS_OF || names.contains(&name) {
                        return Err(LookupError::Malformed);
                    }
                    if !names.is_empty() {
                        joined.push(b'.');
                    }
                    joined.extend_from_slice(&self.header(&name)?);
                    names.push(name);
                }
                joined.into()
            }
            Variable::At(location) => return self.at(location),
            Variable::Body | Variable::FormSorted => return Err(LookupError::Missing),
        })
    }
}

fn parameter<'s>(signature: &'s MessageSignature, item: &Item) -> Found<'s> {
    let name = match item {
        Item::Name(name) => &**name,
        Item::Position(_) => return Err(LookupError::Missing),
    };
    let text = match name {
        "created" => signature
            .created
            .map(|created| Cow::Owned(created.secs().to_string().into_bytes())),
        "nonce" => signature
            .nonce
            .as_deref()
            .map(|text| text.as_bytes().into()),
        "keyid" => signature
            .keyid
            .as_deref()
            .map(|text| text.as_bytes().into()),
        _ => None,
    };
    text.ok_or(LookupError::Missing)
}

/// The body, of which single members and fields are read.
pub(super) struct BodyView<'b> {
    pub(super) body: &'b [u8],
    context: &'b Context,
    pointers: &'b [Pointer],
    plan: Option<&'b Plan>,
    texts: OnceCell<FoundTexts<'b>>,
    form: OnceCell<Result<Vec<u8>, LookupError>>,
}

impl<'b> BodyView<'b> {
    /// A view that can read `pointers`.
    pub(super) fn new(
        body: &'b [u8],
        pointers: &'b [Pointer],
        context: &'b Context,
        plan: Option<&'b Plan>,
    ) -> Self {
        Self {
            body,
            context,
            pointers,
            plan,
            texts: OnceCell::new(),
            form: OnceCell::new(),
        }
    }

    /// Whether members have been read already.
    pub(super) fn is_read(&self) -> bool {
        self.texts.get().is_some()
    }

    pub(super) fn text(&self, pointer: &Pointer) -> Result<&str, LookupError> {
        let index = self.pointers.iter().position(|other| other == pointer);
        let texts = self
            .texts
            .get_or_init(|| json::read_texts(self.body, self.pointers));
        let found = index.and_then(|index| texts.get(index));
        let found = found.ok_or(LookupError::Missing)?;
        found.as_deref().map_err(|absence| *absence)
    }

    /// The fields of a form, sorted and run together.
    fn sorted_form(&self) -> Result<&[u8], LookupError> {
        let text = self.form.get_or_init(|| {
            // Sorting many takes longer than all else, and nothing is known of the sender yet.
            let mut fields: Vec<_> = location::form_fields(self.body)
                .take(MAX_FIELDS + 1)
                .collect();
            if fields.len() > MAX_FIELDS {
                return Err(LookupError::Malformed);
            }
            fields.sort();
            fields.dedup();
            let sorted = fields.iter().flat_map(|(name, value)| [&**name, &**value]);
            Ok(sorted.collect::<Vec<_>>().concat())
        });
        match text.as_deref() {
            // It would go on with the query of an address that is before it.
            Ok([b'?' | b'&', ..]) => Err(LookupError::Malformed),
            text => text.map_err(|absence| *absence),
        }
    }

    pub(super) fn at(&self, location: &Location) -> Found<'_> {
        match location {
            Location::Json(pointer) => self.text(pointer).map(|text| text.as_bytes().into()),
            Location::Form(name) => field(self.body, name),
            Location::Param(name) => param(self.context, name),
            _ => Err(LookupError::Missing),
        }
    }

    pub(super) fn value(&self, variable: &Variable) -> Found<'_> {
        match variable {
            Variable::Body => Ok(self.body.into()),
            Variable::FormSorted => self.sorted_form().map(Cow::Borrowed),
            Variable::Timestamp => {
                let timestamp = self.plan.and_then(|plan| plan.timestamp.as_ref());
                self.at(&timestamp.ok_or(LookupError::Missing)?.location)
            }
            Variable::Id => {
                let id = self.plan.and_then(|plan| plan.id.as_ref());
                self.at(id
                    .and_then(|id| id.locations.first())
                    .ok_or(LookupError::Missing)?)
            }
            Variable::At(location) => self.at(location),
            _ => Err(LookupError::Missing),
        }
    }
}

pub(super) fn field<'t>(fields: &'t [u8], name: &str) -> Found<'t> {
    exactly_one(
        location::form_fields(fields)
            .filter(|(other, _)| **other == *name.as_bytes())
            .map(|(_, value)| value),
    )
}

fn param<'c>(context: &'c Context, name: &str) -> Found<'c> {
    let value = context.params.get(name).ok_or(LookupError::Missing)?;
    Ok(value.as_bytes().into())
}

/// Whether `condition` holds where `read` looks.
pub(super) fn holds<'a>(condition: &Condition, read: impl Fn(&Location) -> Found<'a>) -> bool {
    let found = read(&condition.location);
    match (&condition.value, found) {
        // More than one is there, too; which of them counts is refused later.
        (None, found) => !matches!(found, Err(LookupError::Missing | LookupError::Malformed)),
        (Some(wanted), Ok(value)) => {
            // A media type may have parameters (RFC 9110 §8.3.1).
            let value = match &condition.location {
                Location::Header(name) if *name == http::header::CONTENT_TYPE => {
                    let essence = value.split(|byte| *byte == b';').next();
                    return essence
                        .is_some_and(|e| e.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()));
                }
                _ => value,
            };
            *value == *wanted.as_bytes()
        }
        (Some(_), Err(_)) => false,
    }
}

/// Writes `segments` with the values that `read` finds.
///
/// # Errors
///
/// A value outside of `[ ]` is not there once, or has what separates it from its
/// neighbour.
pub(super) fn render<'a>(
    segments: &[Segment],
    read: &dyn Fn(&Variable) -> Found<'a>,
    out: &mut Text,
) -> Result<(), VerifyError> {
    for segment in segments {
        match segment {
            Segment::Literal(text) => out.extend_from_slice(text),
            Segment::Placeholder(value) => match render_value(value, read)? {
                Some(bytes) => out.extend_from_slice(&bytes),
                None => return Err(VerifyError::FieldMissing),
            },
            Segment::Optional(inner) => {
                let mut bytes = Vec::new();
                let mut absent = false;
                for segment in inner {
                    match segment {
                        Segment::Literal(text) => bytes.extend_from_slice(text),
                        Segment::Placeholder(value) => match render_value(value, read)? {
                            Some(value) => bytes.extend_from_slice(&value),
                            None => absent = true,
                        },
                        Segment::Optional(_) => {}
                    }
                }
                if !absent {
                    out.extend_from_slice(&bytes);
                }
            }
        }
    }
    Ok(())
}

/// `None` if the value is absent.
fn render_value<'a>(
    value: &Placeholder,
    read: &dyn Fn(&Variable) -> Found<'a>,
) -> Result<Option<Cow<'a, [u8]>>, VerifyError> {
    let mut bytes = match (read(&value.variable), value.absent) {
        (Ok(bytes), _) => bytes,
        (Err(LookupError::Missing), IfAbsent::Empty) => Cow::Borrowed(&[][..]),
        (Err(LookupError::Missing), IfAbsent::Refuse) => return Ok(None),
        (Err(absence), _) => return Err(absence.into()),
    };
    for filter in &value.filters {
        bytes = filtered(*filter, &bytes).into();
    }
    if contains_any(&bytes, &value.delimiters) {
        return Err(VerifyError::FieldMalformed);
    }
    Ok(Some(bytes))
}

fn filtered(filter: Filter, bytes: &[u8]) -> Vec<u8> {
    match filter {
        Filter::Lower => bytes.to_ascii_lowercase(),
        Filter::Upper => bytes.to_ascii_uppercase(),
        Filter::Crc32 => crc32fast::hash(bytes).to_string().into_bytes(),
        Filter::Sha1Hex => hex::encode(Sha1::digest(bytes)).into_bytes(),
        Filter::Sha256Hex => hex::encode(Sha256::digest(bytes)).into_bytes(),
        Filter::Sha256Base64 => STANDARD.encode(Sha256::digest(bytes)).into_bytes(),
        // Answers to handshakes are written by `answer`, which knows the key.
        Filter::HmacHex | Filter::HmacBase64 => Vec::new(),
    }
}

/// Writes the part of an answer to a handshake; `None` if a value is not there.
pub(super) fn answer<'a>(
    segments: &[Segment],
    response_type: Option<ResponseType>,
    key: Option<&mac::Key>,
    read: &dyn Fn(&Variable) -> Found<'a>,
) -> Option<Vec<u8>> {
    /// No challenge is longer.
    const MOST: usize = 4096;
    let mut out = Vec::new();
    for segment in segments {
        match segment {
            Segment::Literal(text) => out.extend_from_slice(text),
            Segment::Placeholder(value) => {
                let found = read(&value.variable)
                    .ok()
                    .filter(|found| found.len() <= MOST)?;
                let bytes = match value.filters.as_slice() {
                    [filter] if filter.signs() => {
                        let mut mac = key?.state()?.clone();
                        mac.update(&found);
                        let tag = mac.finish();
                        match filter {
                            Filter::HmacBase64 => STANDARD.encode(tag.bytes()),
                            _ => hex::encode(tag.bytes()),
                        }
                        .into_bytes()
                    }
                    filters => filters.iter().fold(found.into_owned(), |bytes, filter| {
                        filtered(*filter, &bytes)
                    }),
                };
                match response_type {
                    Some(ResponseType::Json) => {
                        let text = std::str::from_utf8(&bytes).ok()?;
                        let quoted = serde_json::to_string(text).ok()?;
                        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
                    }
                    _ => out.extend_from_slice(&bytes),
                }
            }
            Segment::Optional(_) => return None,
        }
    }
    Some(out)
}
