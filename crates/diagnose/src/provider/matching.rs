//! Finds the providers whose scheme fits a delivery.

use std::collections::BTreeMap;

use hookgate_core::{Scheme, UnixTime};

use super::catalogue::{Catalogue, Entry};
use super::rank::{Evidence, ranked};
use super::traits::Traits;
use super::way::Way;
use super::{Match, reading};
use crate::address::forwarding;
use crate::attempt::{Age, Case};
use crate::capture::Capture;
use crate::setup::{SecretText, Setup};

/// The largest number of matches without proof.
const MAX_UNPROVED: usize = 3;

/// Returns the providers whose scheme fits the delivery, the most likely one first.
///
/// The age of the delivery does not count. If a scheme signs the URL and `url` is `None`, the
/// URL is taken from the request.
pub fn identify(
    capture: &Capture,
    secrets: &[SecretText],
    url: Option<&str>,
    params: &[(String, String)],
) -> Vec<Match> {
    let traits = Traits::of(capture, url, secrets);
    let candidates = Catalogue::get().candidates(&traits);
    let candidates = ranked(
        candidates.filter(|entry| is_usable(entry, &traits)),
        &traits,
    );
    let inputs = Inputs {
        capture,
        traits: &traits,
        urls: match url {
            Some(url) => vec![url.to_owned()],
            None => forwarding::requested(&capture.headers, capture.target.as_ref()),
        },
        params,
    };
    // Equal schemes are verified once.
    let mut verdicts: BTreeMap<usize, Option<Option<String>>> = BTreeMap::new();
    let (mut proved, mut unproved) = (Vec::new(), Vec::new());
    for entry in candidates {
        let verdict = verdicts.entry(entry.class);
        match verdict.or_insert_with(|| inputs.verified_variant(entry)) {
            Some(variant) => proved.push((entry, variant.clone())),
            None => unproved.push(entry),
        }
    }
    // Beside a proof, a provider that reads the same header is not a second possibility.
    unproved.retain(|entry| {
        let mut others = proved.iter().map(|(other, _)| other);
        !others.any(|other| shares_place(entry, other))
    });
    let without_proof = unproved.into_iter().filter_map(|entry| {
        let is_named = Evidence::of(entry, &traits).named > 0;
        let way = entry.ways.iter().find(|way| {
            (way.is_distinctive(&traits) || is_named && way.occurs(&traits))
                && !Catalogue::get().is_superseded(entry, way, &traits)
        })?;
        Some(new_match(entry, way.name.clone(), false))
    });
    let with_proof = proved.into_iter();
    let with_proof = with_proof.map(|(entry, variant)| new_match(entry, variant, true));
    let without_proof = without_proof.take(MAX_UNPROVED);
    let without_proof = without_proof.map(|found| inputs.with_other_reading(found));
    let mut all: Vec<Match> = with_proof.chain(without_proof).collect();
    // The sort is stable.
    all.sort_by_key(|found| !found.proved);
    all
}

/// The inputs of all verifications.
struct Inputs<'a> {
    capture: &'a Capture,
    traits: &'a Traits<'a>,
    urls: Vec<String>,
    params: &'a [(String, String)],
}

impl Inputs<'_> {
    /// Returns the name of the variant that verifies the delivery, or `Some(None)` if the scheme
    /// has no variants.
    fn verified_variant(&self, entry: &Entry) -> Option<Option<String>> {
        let scheme = entry.provider.scheme();
        let is_good = |way: &&Way| {
            way.occurs(self.traits)
                && !Catalogue::get().is_superseded(entry, way, self.traits)
                && self.verifies(scheme, way.name.as_deref())
        };
        let mut default = entry.ways.iter().filter(|way| !way.is_opt_in);
        let mut opt_in = entry.ways.iter().filter(|way| way.is_opt_in);
        let way = match self.verifies(scheme, None) {
            true => default.find(is_good),
            false => None,
        };
        way.or_else(|| opt_in.find(is_good))
            .map(|way| way.name.clone())
    }

    /// Returns the match as proved if another reading of the secret verifies the delivery.
    fn with_other_reading(&self, found: Match) -> Match {
        let verified =
            reading::schemes(&found.provider).find(|(_, scheme)| self.verifies(scheme, None));
        match verified {
            None => found,
            Some((key, _)) => Match {
                variant: None,
                key: Some(key),
                proved: true,
                ..found
            },
        }
    }

    /// Whether the scheme verifies the delivery with any of the secrets.
    fn verifies(&self, scheme: &Scheme, variant: Option<&str>) -> bool {
        let urls: Vec<Option<&String>> = match scheme.needs_url() {
            true => self.urls.iter().map(Some).collect(),
            false => vec![self.urls.first()],
        };
        self.traits.secrets.iter().any(|secret| {
            urls.iter().any(|url| {
                let mut setup = Setup {
                    scheme: scheme.clone(),
                    provider: None,
                    variant: variant.map(str::to_owned),
                    secrets: vec![secret.clone()],
                    url: url.cloned(),
                    params: self.params.to_vec(),
                    window: None,
                };
                setup.complete(self.capture);
                self.is_signed(&setup)
            })
        })
    }

    fn is_signed(&self, setup: &Setup) -> bool {
        let case = Case {
            setup,
            capture: self.capture,
            // The age is ignored, so that the time does not matter.
            now: self.capture.arrived.unwrap_or(UnixTime::from_secs(0)),
        };
        let prepared = case.prepare(Age::Ignored);
        prepared.is_ok_and(|prepared| prepared.check(self.capture.body.clone()).is_ok())
    }
}

/// Whether the provider can be identified. A static token in a header that many use proves
/// nothing, unless another value names the provider.
fn is_usable(entry: &Entry, traits: &Traits<'_>) -> bool {
    let mut ways = entry.ways.iter().filter(|way| way.occurs(traits));
    ways.any(|way| !way.is_token() || way.is_distinctive(traits))
        || Evidence::of(entry, traits).named > 0
}

fn shares_place(one: &Entry, other: &Entry) -> bool {
    let mut ways = one.ways.iter();
    ways.any(|way| other.ways.iter().any(|other| way.shares_place(other)))
}

fn new_match(entry: &Entry, variant: Option<String>, proved: bool) -> Match {
    Match {
        provider: entry.provider.clone(),
        variant,
        key: None,
        proved,
    }
}
