//! Signed deliveries of several providers, for tests.

use std::ops::ControlFlow;

use bytes::Bytes;
use hookgate_core::{Provider, Scheme, Secret, Signer, UnixTime};
use http::{HeaderValue, Request};

use crate::attempt::{Age, Case, Edit, Effort, VisitEdit};
use crate::capture::Capture;
use crate::cause::Cause;
use crate::setup::{SecretText, Setup};

/// The time at which every sample is signed.
pub(crate) const AT: UnixTime = UnixTime::from_secs(1_795_946_719);

/// A delivery, and the configuration with which it verifies.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) setup: Setup,
    pub(crate) capture: Capture,
}

/// The key pair of RFC 8032 §7.1, test 1: the private and the public key.
const ED25519: [&str; 2] = [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
];

impl Sample {
    /// Returns a delivery of `provider`, which has one of the secrets that the tests know.
    pub(crate) fn of(provider: &str) -> Self {
        let [signing, configured] = match provider {
            "discord-interactions" => ED25519,
            "standard-webhooks" | "svix" => {
                ["whsec_YS1zdGFuZGFyZC13ZWJob29rcy1rZXktMzItYnl0ZSE="; 2]
            }
            "stripe" => ["whsec_9aL2vQ7xT4mB8nZ1cR6yK3pW5dF0hJ2g"; 2],
            "slack" => ["4b1f0e9d8c7a6b5f4e3d2c1b0a998877"; 2],
            "twilio" => ["3f8a1c5e7b9d2046f8a1c5e7b9d20468"; 2],
            "shopify" => ["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"; 2],
            "zendesk" => ["dGhpcy1pcy1h+XplbmRlc2s/a2V5PT0="; 2],
            _ => ["gh-hook+5f2c9e81b7d64a03"; 2],
        };
        let provider = Provider::named(provider).expect("in the catalogue");
        let scheme = provider.scheme().clone();
        Self::signed(scheme, Some(provider), signing, configured)
    }

    /// Returns a delivery of `scheme`, signed with `signing`.
    pub(crate) fn signed(
        scheme: Scheme,
        provider: Option<Provider>,
        signing: &str,
        configured: &str,
    ) -> Self {
        let is_twilio = provider.as_ref().is_some_and(|one| one.name() == "twilio");
        let (content_type, body) = match is_twilio {
            true => (
                "application/x-www-form-urlencoded",
                "AccountSid=AC0123&Body=Hello+World&From=%2B14155550100",
            ),
            false => (
                "application/json",
                r#"{"id":"evt_1","type":"invoice.paid","amount":1250}"#,
            ),
        };
        let url = scheme
            .needs_url()
            .then(|| "https://api.example.com/hooks".to_owned());
        let secret = Secret::new(signing).unwrap();
        let mut signer = Signer::builder(&scheme, &secret);
        if let Some(url) = &url {
            signer = signer.url(url.clone());
        }
        let request = Request::post("/hooks")
            .header("content-type", content_type)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let signed = signer.build().unwrap();
        let signed = signed.sign_request(request, AT, Some("msg_2Lk9ZrXb4Wt1Vn8"));
        let (parts, body) = signed.unwrap().into_parts();
        Self {
            setup: Setup {
                scheme,
                provider,
                variant: None,
                secrets: vec![SecretText::new(configured)],
                url,
                params: Vec::new(),
                window: None,
            },
            capture: Capture {
                method: parts.method,
                target: Some(parts.uri),
                headers: parts.headers,
                body,
                arrived: Some(AT),
            },
        }
    }

    /// Returns the delivery with another configured secret.
    pub(crate) fn with_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.setup.secrets = vec![SecretText::new(secret)];
        self
    }

    /// Returns the text of the configured secret.
    pub(crate) fn secret(&self) -> String {
        String::from_utf8(self.setup.secrets[0].expose().to_vec()).unwrap()
    }

    /// Returns the text of the header `name`.
    pub(crate) fn header(&self, name: &str) -> String {
        self.capture.headers[name].to_str().unwrap().to_owned()
    }

    /// Returns the delivery with another value of the header `name`.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.capture.headers.insert(name, value);
        self
    }

    pub(crate) fn case(&self) -> Case<'_> {
        Case {
            setup: &self.setup,
            capture: &self.capture,
            now: AT,
        }
    }

    /// Returns the edits that `each` makes for the delivery.
    pub(crate) fn edits(
        &self,
        each: fn(Case<'_>, Effort, VisitEdit<'_>) -> ControlFlow<()>,
        effort: Effort,
    ) -> Vec<Edit> {
        let mut all = Vec::new();
        let _: ControlFlow<()> = each(self.case(), effort, &mut |edit| {
            all.push(edit);
            ControlFlow::Continue(())
        });
        all
    }

    /// Whether the delivery verifies.
    pub(crate) fn verifies(&self) -> bool {
        let prepared = self.case().prepare(Age::Ignored);
        prepared.is_ok_and(|prepared| prepared.check(self.capture.body.clone()).is_ok())
    }

    /// Whether the delivery verifies with `edit`.
    pub(crate) fn verifies_with(&self, edit: &Edit) -> bool {
        let changed = self.case().with(&edit.change);
        let prepared = changed.case().prepare(Age::Ignored);
        prepared.is_ok_and(|prepared| prepared.check(self.capture.body.clone()).is_ok())
    }
}

/// Returns the cause that `edits` prove for `sample` at the lowest cost.
pub(crate) fn cheapest_proof(sample: &Sample, edits: &[Edit]) -> Option<Cause> {
    let mut by_cost: Vec<&Edit> = edits.iter().collect();
    by_cost.sort_by_key(|edit| edit.cost);
    let cheapest = by_cost
        .into_iter()
        .find(|edit| sample.verifies_with(edit))?;
    assert!((1..=20).contains(&cheapest.cost), "{}", cheapest.cost);
    Some(cheapest.cause.clone())
}
