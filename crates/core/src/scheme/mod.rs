//! What a scheme is: how a provider signs, as data.
//!
//! A scheme is written in TOML, the same for the catalogue of this crate and
//! for an operator's own partner:
//!
//! ```toml
//! alg  = "hmac-sha256"
//! key  = { strip = "whsec_", enc = "base64" }
//! sig  = { in = "header:webhook-signature", items = " ", pair = ",", key = "v1", enc = "base64" }
//! ts   = { in = "header:webhook-timestamp", unit = "s" }
//! msg  = "{id}.{ts}.{body}"
//! id   = "header:webhook-id"
//! type = "json:/type"
//! ```
//!
//! | key | meaning |
//! |---|---|
//! | `alg` | `hmac-sha1`, `hmac-sha256`, `hmac-sha384`, `hmac-sha512`, `ed25519`, or `token`: the secret itself, which signs nothing |
//! | `key` | `enc`: how the secret's text becomes the key: `utf8` (default), `base64`, `hex`; `strip`: prefixes to take off first, each if it is there; `if_prefixed = true`: decode only then |
//! | `sig` | `in`: `header:NAME`, or for tokens `basic`, HTTP basic authentication with `user:password`; `prefix`: literal before the value; `prefix_optional`: whether it may be missing; `enc`: `hex`, `base64` or `base64url` (unpadded), not with `token`; for lists `items`: what separates items, `pair`: what separates name and value, `key`: the name of the signatures, `trim`: take off blanks around items |
//! | `ts` | `in`: `header:NAME` or `sig:NAME` (a named item of the signature header); `unit`: `s`, `ms` or `rfc3339`; `past`, `future`: the window, 300 s if not set |
//! | `msg` | the signed message (not with `token`): literal text, `{body}`, `{ts}`, `{id}`, `{header:NAME}`; `{{` and `}}` are braces |
//! | `id` | where the event id is: `header:NAME` or `json:POINTER` (RFC 6901); `exclude`: characters it must not have, besides what separates it in `msg` |
//! | `type` | where the event type is, likewise |
//! | `forbid` | headers that must not be there: they belong to a scheme that this one must not be mixed with |
//! | `extends` | a provider of the catalogue whose scheme this one changes key by key |
//!
//! The timestamp and the id go into the message as raw text, never reformatted.

pub(crate) mod field;
mod grammar;
pub(crate) mod json;
mod template;

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

pub(crate) use self::field::SignatureField;
pub(crate) use self::json::Pointer;
pub(crate) use self::template::{Message, Segment, SignedHeader};
use crate::document::{self, Problems, Report, Section};
use crate::mac::{Algorithm, KeyRule};
use crate::time::Window;

/// A scheme: read, checked and compiled, so that nothing of its text is
/// interpreted while deliveries are verified. Cheap to clone.
#[derive(Clone)]
pub struct Scheme(Arc<Plan>);

/// What a scheme compiles to.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: KeyRule,
    pub(crate) signature: SignatureField,
    pub(crate) timestamp: Option<TimestampField>,
    pub(crate) id: Option<IdField>,
    pub(crate) event_type: Option<Location>,
    pub(crate) message: Message,
    /// The template that `message` was compiled from; none for a token.
    pub(crate) template: Option<String>,
    pub(crate) forbidden: Vec<HeaderName>,
}

/// Where the timestamp is and how it reads.
#[derive(Clone, Debug)]
pub(crate) struct TimestampField {
    pub(crate) location: Location,
    pub(crate) unit: field::TimeUnit,
    pub(crate) window: Window,
}

/// Where the event id is.
#[derive(Clone, Debug)]
pub(crate) struct IdField {
    pub(crate) location: Location,
    /// Characters that would let the id run into what follows it in the message.
    pub(crate) exclude: Vec<u8>,
    /// Whether the signature covers the id. Only then may it name the event.
    pub(crate) signed: bool,
}

/// A place in a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// `header:NAME`
    Header(HeaderName),
    /// `sig:NAME`: the item NAME of the signature header.
    SignatureItem(String),
    /// `json:POINTER`: a member of the body.
    Json(Pointer),
}

impl Location {
    pub(crate) fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Json(pointer) => Some(pointer),
            Self::Header(_) | Self::SignatureItem(_) => None,
        }
    }
}

impl Scheme {
    /// Reads a scheme from the text of a TOML document.
    ///
    /// # Errors
    ///
    /// Every mistake, each with its key path and what was expected.
    ///
    /// ```
    /// use hookgate_core::Scheme;
    ///
    /// let scheme = Scheme::from_toml(r#"
    ///     alg = "hmac-sha256"
    ///     sig = { in = "header:x-partner-signature", prefix = "sha256=", enc = "hex" }
    ///     msg = "{body}"
    /// "#);
    /// assert!(scheme.is_ok());
    ///
    /// let mistake = Scheme::from_toml("alg = 'md5'").unwrap_err().to_string();
    /// assert!(mistake.contains("alg: expected one of hmac-sha1"), "{mistake}");
    /// assert!(mistake.contains("sig: missing"), "{mistake}");
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        let table = document::parse(text)?;
        let report = Report::default();
        let scheme = Self::read(&Section::root(&table, &report));
        report.finish(scheme)
    }

    /// Reads a scheme from a section of a larger document. `None` if there were
    /// mistakes; they are in the section's report.
    pub fn read(section: &Section<'_>) -> Option<Self> {
        let before = section.report().len();
        let plan = grammar::read(section)?;
        (section.report().len() == before).then(|| Self(Arc::new(plan)))
    }

    /// The window that the scheme's provider documents, or the default.
    /// `None` if the scheme has no timestamp.
    pub fn window(&self) -> Option<Window> {
        self.0.timestamp.as_ref().map(|timestamp| timestamp.window)
    }

    /// Whether deliveries have the event id in a header that is signed.
    pub fn has_id_header(&self) -> bool {
        self.0
            .id
            .as_ref()
            .is_some_and(|id| id.signed && matches!(id.location, Location::Header(_)))
    }

    /// The algorithm, by its name in the language.
    pub fn algorithm(&self) -> &'static str {
        self.0.algorithm.name()
    }

    /// The template of the signed message; none for a token, which signs nothing.
    pub fn signed_message(&self) -> Option<&str> {
        self.0.template.as_deref()
    }

    /// The headers that are read, the one of the signature first.
    pub fn headers(&self) -> Vec<&str> {
        let plan = &*self.0;
        let mut headers = vec![plan.signature.header.as_str()];
        let timestamp = plan.timestamp.as_ref().map(|timestamp| &timestamp.location);
        let id = plan
            .id
            .as_ref()
            .filter(|id| id.signed)
            .map(|id| &id.location);
        for location in [timestamp, id].into_iter().flatten() {
            if let Location::Header(name) = location {
                headers.push(name.as_str());
            }
        }
        headers.extend(plan.message.headers().map(|header| header.name.as_str()));
        headers
    }

    /// Whether the scheme is a token: it authenticates the caller and signs
    /// nothing, so whoever has seen one delivery can make others.
    pub fn is_token(&self) -> bool {
        self.0.algorithm == Algorithm::Token
    }

    /// Whether the event id is part of what is signed.
    pub fn signs_id(&self) -> bool {
        self.0.id.as_ref().is_some_and(|id| id.signed)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
