//! One verification with changed inputs.

use std::ops::ControlFlow;

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, RequestOutcome, Scheme, UnixTime, Verifier, VerifyError, internal,
};
use http::{HeaderMap, Method, Uri};

use crate::capture::Capture;
use crate::cause::{Cause, Code};
use crate::setup::{SecretText, Setup};

/// The inputs of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) capture: &'a Capture,
    /// The time of arrival, or else the present.
    pub(crate) now: UnixTime,
}

/// The timestamps that a verification accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Every timestamp.
    Ignored,
    /// The timestamps inside of the configured window.
    Checked,
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
    /// Another secret in place of the first one.
    Secret(SecretText),
    Headers(HeaderMap),
    /// Another configured URL. The target of the request follows it.
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
    /// Every candidate.
    Full,
}

/// A function that receives candidates, and breaks when it needs no more.
pub(crate) type VisitEdit<'v> = &'v mut dyn FnMut(Edit) -> ControlFlow<()>;

/// The inputs of a search with one of them changed.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    setup: Setup,
    capture: Capture,
    now: UnixTime,
}

impl Changed {
    pub(crate) fn case(&self) -> Case<'_> {
        Case {
            setup: &self.setup,
            capture: &self.capture,
            now: self.now,
        }
    }
}

/// A verification whose inputs are parsed. Only the body is missing.
pub(crate) struct Prepared<'a> {
    verifier: Verifier,
    method: &'a Method,
    uri: Uri,
    headers: &'a HeaderMap,
    now: UnixTime,
}

impl<'a> Case<'a> {
    /// Returns a copy of the inputs.
    pub(crate) fn to_changed(self) -> Changed {
        Changed {
            setup: self.setup.clone(),
            capture: self.capture.clone(),
            now: self.now,
        }
    }

    /// The work of one copy of the inputs, in the units of a budget, and about its bytes.
    pub(crate) fn copy_work(self) -> u64 {
        let headers = self.capture.headers.iter();
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 100);
        let secrets = self.setup.secrets.iter();
        let secrets = secrets.map(|secret| secret.expose().len());
        1_000 + headers.chain(secrets).sum::<usize>() as u64
    }

    /// Returns a copy of the inputs with `change` made.
    pub(crate) fn with(self, change: &Change) -> Changed {
        let mut changed = self.to_changed();
        let Changed { setup, capture, .. } = &mut changed;
        match change.clone() {
            Change::Secret(secret) => match setup.secrets.first_mut() {
                Some(first) => *first = secret,
                None => setup.secrets.push(secret),
            },
            Change::Headers(headers) => capture.headers = headers,
            Change::Url(url) => {
                setup.url = Some(url);
                capture.target = None;
            }
            Change::Method(method) => capture.method = method,
            Change::Scheme { scheme, variant } => {
                setup.scheme = scheme;
                setup.variant = variant;
                setup.complete(capture);
            }
        }
        changed
    }

    /// Builds the verifier with the first secret.
    ///
    /// # Errors
    ///
    /// Returns `None` if the secret is missing, empty or a placeholder, and the error of the
    /// builder if an input does not fit the scheme.
    pub(crate) fn prepare(self, age: Age) -> Result<Prepared<'a>, Option<BuildError>> {
        let Setup {
            scheme,
            variant,
            secrets,
            url,
            params,
            window,
            ..
        } = self.setup;
        let secret = secrets.first().and_then(SecretText::to_secret);
        let mut builder = Verifier::builder(scheme)
            .with_insecure_published_secrets()
            .key(secret.ok_or(None)?);
        if let Some(window) = window {
            builder = builder.window(*window);
        }
        if let Some(url) = url {
            builder = builder.url(url);
        }
        if let Some(variant) = variant {
            builder = builder.variant(variant);
        }
        for (name, value) in params {
            // A scheme of another provider may not know the parameter.
            if scheme.params().any(|param| param == name) {
                builder = builder.param(name.as_str(), value.as_str());
            }
        }
        let root = || Uri::from_static("/");
        let uri = match (&self.capture.target, url) {
            (Some(target), _) => target.clone(),
            (None, Some(url)) => target_of(url).unwrap_or_else(root),
            (None, None) => root(),
        };
        let verifier = builder.build().map_err(Some)?;
        Ok(Prepared {
            verifier: match age {
                Age::Checked => verifier,
                Age::Ignored => internal::ignore_age(verifier),
            },
            method: &self.capture.method,
            uri,
            headers: &self.capture.headers,
            now: self.now,
        })
    }
}

impl Prepared<'_> {
    /// Verifies `body`, and returns the signed timestamp, if the scheme has one. A handshake
    /// counts only if its signature was checked.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the delivery is refused.
    pub(crate) fn check(&self, body: Bytes) -> Result<Option<UnixTime>, VerifyError> {
        let head = Head::new(self.method, &self.uri, self.headers);
        match self.verifier.verify(head, body, self.now)? {
            RequestOutcome::Delivery(verified) => Ok(verified.timestamp()),
            RequestOutcome::Handshake(_) => {
                let scheme = self.verifier.scheme();
                match scheme.verifies_handshakes() && scheme.has_signature(head) {
                    true => Ok(None),
                    false => Err(VerifyError::SignatureMissing),
                }
            }
        }
    }

    /// Returns the method as a proved cause, if it is the only fault of a delivery whose
    /// signature matches: the scheme of `title` does not sign the method.
    pub(crate) fn refused_method(&self, title: &str) -> Option<Cause> {
        let Self {
            verifier, method, ..
        } = self;
        let is_known = verifier.is_delivery_method(method) || verifier.is_handshake_method(method);
        let summary = format!("the signature matches, but {title} sends no {method} deliveries");
        (!is_known).then(|| Cause::new(Code::MethodMismatch, summary).into_proved())
    }

    /// The work of one verification of `len` bytes, in the units of a budget.
    pub(crate) fn work(&self, len: usize) -> u64 {
        let is_public = self
            .verifier
            .variants()
            .any(|variant| variant.has_public_key());
        let fixed = if is_public { 400_000 } else { 3_000 };
        fixed + 2 * len as u64
    }
}

/// Returns the request target of `url`: its path and query.
pub(crate) fn target_of(url: &str) -> Option<Uri> {
    let target = url.parse::<Uri>().ok()?.into_parts().path_and_query;
    Some(target.map_or_else(|| Uri::from_static("/"), Uri::from))
}
