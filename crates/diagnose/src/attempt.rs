//! One verification with changed inputs.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, RequestOutcome, Scheme, UnixTime, Verifier, VerifyError, Window,
};
use http::{HeaderMap, Method, Uri};

use crate::capture::Capture;
use crate::cause::Cause;
use crate::setup::{SecretText, Setup};

/// A window that accepts every timestamp. The age of a capture says nothing about its signature.
pub(crate) const FOREVER: Window = Window::new(Duration::MAX, Duration::MAX);

/// The inputs of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) capture: &'a Capture,
    /// The time of arrival, or else the present.
    pub(crate) now: UnixTime,
}

/// All that a verification reads, except the body.
#[derive(Clone, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) variant: Option<Cow<'a, str>>,
    pub(crate) secret: Cow<'a, SecretText>,
    pub(crate) url: Option<Cow<'a, str>>,
    /// The target of the request line, if it is not the one of `url`.
    pub(crate) target: Option<Cow<'a, Uri>>,
    pub(crate) params: &'a [(String, String)],
    pub(crate) method: Cow<'a, Method>,
    pub(crate) headers: Cow<'a, HeaderMap>,
    pub(crate) window: Window,
    pub(crate) now: UnixTime,
}

/// A change of one input that may undo the cause, and the cause that it would prove.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) cause: Cause,
    pub(crate) change: Change,
    /// How much the change alters the input. Of several changes that verify, the one with the
    /// lowest cost wins.
    pub(crate) cost: u8,
}

/// A changed input.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Secret(SecretText),
    Headers(HeaderMap),
    /// Another configured URL. The target follows it.
    Url(String),
    Method(Method),
    Scheme {
        scheme: Scheme,
        variant: Option<String>,
    },
}

/// How many candidates a generator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// The common ones alone, for combinations with other changes.
    Common,
    /// All of them.
    Full,
}

/// A function that receives candidates, and breaks when it needs no more.
pub(crate) type VisitEdit<'v> = &'v mut dyn FnMut(Edit) -> ControlFlow<()>;

/// A verification whose inputs are parsed. Only the body is missing.
pub(crate) struct Prepared<'a> {
    verifier: Verifier,
    method: Cow<'a, Method>,
    uri: Uri,
    headers: Cow<'a, HeaderMap>,
    now: UnixTime,
}

impl<'a> Attempt<'a> {
    /// Returns the attempt with nothing changed, except that the age of the delivery is ignored.
    pub(crate) fn of(case: Case<'a>) -> Option<Self> {
        Some(Self {
            scheme: case.setup.scheme.clone(),
            variant: case.setup.variant.as_deref().map(Cow::Borrowed),
            secret: Cow::Borrowed(case.setup.secrets.first()?),
            url: case.setup.url.as_deref().map(Cow::Borrowed),
            target: case.capture.target.as_ref().map(Cow::Borrowed),
            params: &case.setup.params,
            method: Cow::Borrowed(&case.capture.method),
            headers: Cow::Borrowed(&case.capture.headers),
            window: FOREVER,
            now: case.now,
        })
    }

    /// Returns the attempt with `change` made.
    pub(crate) fn with(&self, change: &Change) -> Self {
        let mut changed = self.clone();
        match change.clone() {
            Change::Secret(secret) => changed.secret = Cow::Owned(secret),
            Change::Headers(headers) => changed.headers = Cow::Owned(headers),
            Change::Url(url) => {
                changed.url = Some(Cow::Owned(url));
                changed.target = None;
            }
            Change::Method(method) => changed.method = Cow::Owned(method),
            Change::Scheme { scheme, variant } => {
                changed.scheme = scheme;
                changed.variant = variant.map(Cow::Owned);
            }
        }
        changed
    }

    /// Builds the verifier of the attempt.
    ///
    /// # Errors
    ///
    /// Returns `None` if the secret is empty or a placeholder, and the error of the builder if
    /// an input does not fit the scheme.
    pub(crate) fn prepare(self) -> Result<Prepared<'a>, Option<BuildError>> {
        let secret = self.secret.to_secret().ok_or(None)?;
        let mut builder = Verifier::builder(&self.scheme)
            .with_insecure_published_secrets()
            .window(self.window)
            .key(secret);
        if let Some(url) = &self.url {
            builder = builder.url(url.clone());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant.clone());
        }
        for (name, value) in self.params {
            // A scheme of another provider may not know the parameter.
            if self.scheme.params().any(|param| param == name) {
                builder = builder.param(name.as_str(), value.as_str());
            }
        }
        let verifier = builder.build().map_err(Some)?;
        let uri = match (self.target, &self.url) {
            (Some(target), _) => target.into_owned(),
            (None, Some(url)) => target_of(url).unwrap_or_else(|| Uri::from_static("/")),
            (None, None) => Uri::from_static("/"),
        };
        Ok(Prepared {
            verifier,
            method: self.method,
            uri,
            headers: self.headers,
            now: self.now,
        })
    }

    /// Whether the attempt verifies `body`.
    pub(crate) fn verifies(self, body: &Bytes) -> bool {
        self.prepare()
            .is_ok_and(|prepared| prepared.verifies(body.clone()))
    }
}

impl Prepared<'_> {
    /// Whether the signature over `body` matches.
    pub(crate) fn verifies(&self, body: Bytes) -> bool {
        self.check(body).is_ok()
    }

    /// Verifies `body`. A handshake counts only if its signature was checked.
    pub(crate) fn check(&self, body: Bytes) -> Result<(), VerifyError> {
        let head = Head::new(&self.method, &self.uri, &self.headers);
        match self.verifier.verify(head, body, self.now)? {
            RequestOutcome::Delivery(_) => Ok(()),
            RequestOutcome::Handshake(_) => {
                let scheme = self.verifier.scheme();
                match scheme.verifies_handshakes() && scheme.has_signature(head) {
                    true => Ok(()),
                    false => Err(VerifyError::SignatureMissing),
                }
            }
        }
    }

    /// The work of one verification of `len` bytes, in the units of a budget.
    pub(crate) fn work(&self, len: usize) -> u64 {
        let is_public = self
            .verifier
            .variants()
            .any(|variant| variant.has_public_key());
        let fixed = if is_public { 150_000 } else { 3_000 };
        fixed + 2 * len as u64
    }
}

/// Returns the request target of `url`: its path and query.
pub(crate) fn target_of(url: &str) -> Option<Uri> {
    let target = url.parse::<Uri>().ok()?.into_parts().path_and_query;
    Some(target.map_or_else(|| Uri::from_static("/"), Uri::from))
}
