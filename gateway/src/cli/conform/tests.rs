//! The corpus against hookgate's own verifier, for every provider and variant of the catalogue.

use hookgate_core::{
    Head, Key, Provider, ReplayScope, Secret, UnixTime, Variant, Verified, Verifier,
};
use hookgate_gate::Clock;
use http::HeaderMap;

use super::body::Event;
use super::corpus::{Row, rows};
use super::deliveries::{Deliveries, Delivery};
use super::genuine::{two_divisions, with_retry};
use super::probe::{Expected, Probe};
use super::skip::Skip;
use crate::explain::{ReadSecret, Signing};

const NOW: UnixTime = UnixTime::from_secs(1_796_022_168);
const URL: &str = "https://hooks.example.com/in";

/// 64 hexadecimal digits are also valid base64, so this secret fits every key rule except those of
/// public keys.
const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";

/// Key pairs: the private and the public key.
const KEYS: [(&str, [&str; 2]); 4] = [
    (
        "ed25519",
        [
            include_str!("../../../../crates/core/tests/keys/ed25519.private.pem"),
            include_str!("../../../../crates/core/tests/keys/ed25519.public.pem"),
        ],
    ),
    (
        "es512",
        [
            include_str!("../../../../crates/core/tests/keys/p521.private.pem"),
            include_str!("../../../../crates/core/tests/keys/p521.public.pem"),
        ],
    ),
    (
        "256",
        [
            include_str!("../../../../crates/core/tests/keys/p256.private.pem"),
            include_str!("../../../../crates/core/tests/keys/p256.public.pem"),
        ],
    ),
    (
        "rsa",
        [
            include_str!("../../../../crates/core/tests/keys/rsa.private.pem"),
            include_str!("../../../../crates/core/tests/keys/rsa.public.pem"),
        ],
    ),
];

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        NOW
    }
}

/// A variant of a provider, with deliveries and a verifier.
struct Case {
    name: String,
    deliveries: Deliveries<'static>,
    verifier: Verifier,
}

impl Case {
    /// Returns every variant of every provider whose deliveries can be signed.
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for name in Provider::names() {
            let provider = Provider::named(name).unwrap();
            for variant in provider.scheme().variants() {
                let [private, public] = keys(&provider, variant);
                let title = format!("{name} {}", variant.name().unwrap_or_default());
                // Otherwise the delivery selects the variant, as for most receivers.
                let pinned = variant.name().filter(|_| variant.is_opt_in());
                let verifier = verifier(&provider, pinned, public).unwrap();
                let signing = signing(&provider, variant, private);
                let to = URL.parse().unwrap();
                let deliveries = Deliveries::new(signing, to, HeaderMap::new(), &FixedClock);
                cases.push(Self {
                    deliveries: deliveries.unwrap_or_else(|error| panic!("{title}: {error}")),
                    name: title,
                    verifier,
                });
            }
        }
        cases
    }

    fn verify(&self, delivery: &Delivery) -> Option<Verified> {
        let request = &delivery.request;
        let head = Head::new(request.method(), request.uri(), request.headers());
        let outcome = self.verifier.verify(head, request.body().clone(), NOW);
        outcome.ok()?.delivery()
    }

    /// Returns the fault of `row`, if there is one, and whether the row applies.
    fn fault(&self, row: &Row) -> (Option<String>, bool) {
        let deliveries = match deliveries_of(row, &self.deliveries) {
            Ok(deliveries) => deliveries,
            Err(Skip::Inapplicable(_)) => return (None, false),
            Err(Skip::Failed(error)) => return (Some(error.to_string()), true),
        };
        let verified: Vec<_> = deliveries.iter().map(|one| self.verify(one)).collect();
        let accepted = verified.iter().flatten().count();
        let scope = ReplayScope::new(&["test"]);
        let mut keys = verified.iter().flatten().map(|one| one.replay_keys(&scope));
        let first = keys.next();
        let holds = match row.probe.expected() {
            Expected::Accepted => accepted == verified.len(),
            Expected::Refused => accepted == 0,
            Expected::RunOnce | Expected::RunAgain => {
                accepted == verified.len() && keys.all(|key| Some(key) == first)
            }
            Expected::AtMostOne => accepted <= 1,
        };
        let fault = (!holds).then(|| format!("{accepted} of {} accepted", verified.len()));
        (fault, true)
    }
}

fn deliveries_of(row: &Row, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
    match row.probe {
        Probe::Genuine(genuine) => Ok(vec![genuine.delivery(all)?]),
        Probe::Forged(forgery) => forgery.deliveries(all),
        Probe::Repeated(repetition) => repetition.deliveries(all),
        Probe::RetryAfterFailure => {
            Ok(with_retry(all, Event::new("msg_1").failing_once())?.to_vec())
        }
        Probe::LostAnswer => Ok(with_retry(all, Event::new("msg_1"))?.to_vec()),
        Probe::TwoDivisions => Ok(two_divisions(all)?.to_vec()),
    }
}

fn signing(provider: &Provider, variant: Variant<'_>, private: Secret) -> Signing {
    let params = provider.scheme().params();
    Signing {
        source: None,
        scheme: provider.scheme().clone(),
        provider: Some(provider.clone()),
        secrets: vec![ReadSecret::of_tenant(Key::new(private))],
        window: None,
        url: Some(URL.to_owned()),
        variant: variant.name().map(str::to_owned),
        params: params
            .map(|name| (name.to_owned(), "hookgate".to_owned()))
            .collect(),
        method: None,
    }
}

fn verifier(provider: &Provider, pinned: Option<&str>, public: Secret) -> Option<Verifier> {
    let scheme = provider.scheme();
    let mut builder = Verifier::builder(scheme).key(public);
    if scheme.needs_url() {
        builder = builder.url(URL);
    }
    for param in scheme.params() {
        builder = builder.param(param, "hookgate");
    }
    if let Some(name) = pinned {
        builder = builder.variant(name);
    }
    builder.build().ok()
}

/// Returns the private and the public key, in the first spelling that the scheme reads.
fn keys(provider: &Provider, variant: Variant<'_>) -> [Secret; 2] {
    let algorithm = variant.algorithm();
    let pair = KEYS.iter().find(|(name, _)| match *name {
        "256" => algorithm.contains("p256") || algorithm.ends_with("es256"),
        "rsa" => algorithm.starts_with("rsa") || algorithm.ends_with("rs256"),
        name => algorithm.ends_with(name),
    });
    let [privates, publics] = pair.map_or([SECRET; 2], |(_, pair)| *pair).map(spellings);
    let usable = |secret: &Secret| verifier(provider, variant.name(), secret.clone()).is_some();
    let index = publics.iter().position(usable).unwrap();
    [privates[index].clone(), publics[index].clone()]
}

/// Returns the spellings in which a scheme may expect `text`, a hexadecimal secret or a PEM key.
fn spellings(text: &str) -> [Secret; 4] {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let inner: String = text
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let bytes = hex::decode(&inner).unwrap_or_else(|_| STANDARD.decode(&inner).unwrap());
    let base64 = STANDARD.encode(&bytes);
    [
        text.trim().to_owned(),
        base64.clone(),
        hex::encode(&bytes),
        format!("whsec_{base64}"),
    ]
    .map(|text| Secret::new(text).unwrap())
}

#[test]
fn the_verifier_answers_each_row_as_expected_for_every_provider() {
    let (mut faults, mut applied) = (Vec::new(), 0);
    for case in Case::all() {
        for row in rows() {
            let (fault, applies) = case.fault(row);
            applied += usize::from(applies);
            faults.extend(fault.map(|fault| format!("{} {}: {fault}", case.name, row.id)));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {applied}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(applied > 4_000, "{applied}");
}
