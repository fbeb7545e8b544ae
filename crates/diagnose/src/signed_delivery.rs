//! Signed deliveries for the tests of this crate, with the settings of their receiver.

use std::ops::ControlFlow;

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime};
use http::{Method, Request};

use crate::attempt::{Age, Case, Edit, Effort, VisitEdit, target_of};
use crate::capture::Capture;
use crate::setup::{SecretText, Setup};

/// The secret of every delivery that names no other one.
pub(crate) const SECRET: &str = "a secret of the tests 0123456789";
const NOW: UnixTime = UnixTime::from_secs(1_795_946_719);

/// A signed delivery, and the settings of a receiver that expects it.
pub(crate) struct SignedDelivery {
    pub(crate) setup: Setup,
    pub(crate) capture: Capture,
}

/// The inputs of a signature.
pub(crate) struct Signing<'a> {
    pub(crate) provider: &'a str,
    pub(crate) variant: Option<&'a str>,
    pub(crate) secret: &'a str,
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) body: &'a str,
}

impl<'a> Signing<'a> {
    pub(crate) fn by(provider: &'a str) -> Self {
        Self {
            provider,
            variant: None,
            secret: SECRET,
            method: Method::POST,
            url: "https://hooks.example.com/x",
            body: match provider {
                "twilio" | "mandrill" => "AccountSid=AC1&Body=a",
                _ => "{}",
            },
        }
    }

    /// Signs the delivery. The receiver has configured the same URL.
    pub(crate) fn sign(self) -> SignedDelivery {
        let provider = Provider::named(self.provider).unwrap();
        let secret = Secret::new(self.secret).unwrap();
        let mut signer = Signer::builder(provider.scheme(), &secret).url(self.url);
        let mut params = Vec::new();
        for name in provider.scheme().params() {
            signer = signer.param(name, "value");
            params.push((name.to_owned(), "value".to_owned()));
        }
        if let Some(variant) = self.variant {
            signer = signer.variant(variant);
        }
        let request = Request::builder().method(self.method);
        let request = request.uri(target_of(self.url).unwrap());
        let body = Bytes::copy_from_slice(self.body.as_bytes());
        let request = request.body(body).unwrap();
        let signed = signer
            .build()
            .unwrap()
            .sign_request(request, NOW, Some("id-1"));
        let (parts, body) = signed.unwrap().into_parts();
        SignedDelivery {
            setup: Setup {
                scheme: provider.scheme().clone(),
                provider: Some(provider),
                variant: None,
                secrets: vec![SecretText::new(self.secret)],
                url: Some(self.url.to_owned()),
                params,
                window: None,
            },
            capture: Capture {
                method: parts.method,
                target: None,
                headers: parts.headers,
                body,
                arrived: None,
            },
        }
    }
}

impl SignedDelivery {
    pub(crate) fn with_target(mut self, target: &str) -> Self {
        self.capture.target = Some(target.parse().unwrap());
        self
    }

    pub(crate) fn with_url(mut self, url: Option<&str>) -> Self {
        self.setup.url = url.map(str::to_owned);
        self
    }

    pub(crate) fn with_headers(mut self, lines: &[(&'static str, &'static str)]) -> Self {
        for (name, value) in lines {
            self.capture.headers.insert(*name, value.parse().unwrap());
        }
        self
    }

    /// Configures another provider, and none of its parameters.
    pub(crate) fn with_provider(mut self, name: &str) -> Self {
        let provider = Provider::named(name).unwrap();
        self.setup.scheme = provider.scheme().clone();
        self.setup.provider = Some(provider);
        self.setup.params.clear();
        self
    }

    pub(crate) fn case(&self) -> Case<'_> {
        Case {
            setup: &self.setup,
            capture: &self.capture,
            now: NOW,
        }
    }

    /// Returns the cheapest edit that verifies, and the number of edits.
    pub(crate) fn proved(
        &self,
        each: fn(Case<'_>, Effort, VisitEdit<'_>) -> ControlFlow<()>,
        effort: Effort,
    ) -> (Option<Edit>, usize) {
        let (mut best, mut count): (Option<Edit>, _) = (None, 0);
        let _ = each(self.case(), effort, &mut |edit| {
            count += 1;
            let changed = self.case().with(&edit.change);
            let prepared = changed.case().prepare(Age::Ignored);
            let body = self.capture.body.clone();
            let verifies = prepared.is_ok_and(|prepared| prepared.check(body).is_ok());
            if verifies && best.as_ref().is_none_or(|best| edit.cost < best.cost) {
                best = Some(edit);
            }
            ControlFlow::Continue(())
        });
        (best, count)
    }
}
