//! The providers of the catalogue, parsed once, with an index of the values they read.

use std::collections::HashMap;
use std::sync::OnceLock;

use hookgate_core::{Provider, Variant};
use http::HeaderName;

use super::traits::Traits;
use super::way::Way;

/// The parsed catalogue.
pub(super) struct Catalogue {
    /// The providers, sorted by name.
    pub(super) entries: Vec<Entry>,
    /// The number of providers that read each header.
    readers: HashMap<HeaderName, usize>,
    /// The number of providers that read each member of a body.
    member_readers: HashMap<String, usize>,
}

/// A provider of the catalogue.
pub(super) struct Entry {
    pub(super) provider: Provider,
    pub(super) ways: Vec<Way>,
    /// The headers that the scheme reads, and the one with the unsigned id of a delivery.
    pub(super) headers: Vec<HeaderName>,
    /// The members of a JSON body that identify an event or its type, as JSON Pointers.
    pub(super) members: Vec<String>,
    /// A number that is equal for providers whose schemes are equal.
    pub(super) class: usize,
}

impl Catalogue {
    /// Returns the catalogue. The first call parses it, which takes most of the time of a call.
    pub(super) fn get() -> &'static Self {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut classes: HashMap<String, usize> = HashMap::new();
        let providers = Provider::names().flat_map(Provider::named);
        let entries: Vec<Entry> = providers
            .map(|provider| {
                let count = classes.len();
                // Schemes with one debug output verify alike.
                let scheme = format!("{:?}", provider.scheme());
                let class = *classes.entry(scheme).or_insert(count);
                Entry::new(provider, class)
            })
            .collect();
        let (mut readers, mut member_readers) = (HashMap::new(), HashMap::new());
        for entry in &entries {
            for header in &entry.headers {
                *readers.entry(header.clone()).or_default() += 1;
            }
            for member in &entry.members {
                *member_readers.entry(member.clone()).or_default() += 1;
            }
        }
        Self {
            entries,
            readers,
            member_readers,
        }
    }

    /// Returns the provider `name`.
    pub(super) fn named(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name() == name)
    }

    /// Returns the providers that may have signed the delivery, as far as it has a signature
    /// where their schemes expect one.
    pub(super) fn candidates(&self, traits: &Traits<'_>) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.occurs(traits))
    }

    /// Returns the number of providers that read the header.
    pub(super) fn readers(&self, header: &HeaderName) -> usize {
        self.readers.get(header).copied().unwrap_or_default()
    }

    /// Returns the number of providers that read the member.
    pub(super) fn member_readers(&self, member: &str) -> usize {
        self.member_readers.get(member).copied().unwrap_or_default()
    }

    /// Whether the delivery also has a stronger signature of the same sender. Advice to check
    /// the weaker one would help a forger.
    pub(super) fn is_superseded(&self, entry: &Entry, way: &Way, traits: &Traits<'_>) -> bool {
        self.entries.iter().any(|other| {
            other.ways.iter().any(|newer| {
                (entry.is_version_of(other) || way.is_replaced_by(newer))
                    && newer.strength() > way.strength()
                    && !newer.shares_place(way)
                    && newer.is_distinctive(traits)
            })
        })
    }
}

impl Entry {
    fn new(provider: Provider, class: usize) -> Self {
        let scheme = provider.scheme();
        let mut headers: Vec<HeaderName> = scheme.headers().into_iter().cloned().collect();
        let delivery_id = provider.facts().delivery_id();
        headers.extend(delivery_id.map(|fact| fact.value().clone()));
        headers.dedup();
        let ids = scheme.variants().filter_map(Variant::id);
        let members = ids.flat_map(|id| {
            let locations = id.split(" and ").map(str::to_owned);
            locations.collect::<Vec<_>>()
        });
        let members = members.filter_map(|id| Some(id.strip_prefix("json:")?.to_owned()));
        let mut members: Vec<String> = members.collect();
        members.sort();
        members.dedup();
        Self {
            ways: Way::all(scheme),
            headers,
            members,
            class,
            provider,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.provider.name()
    }

    /// Whether the delivery has a signature where the scheme expects one.
    pub(super) fn occurs(&self, traits: &Traits<'_>) -> bool {
        self.ways.iter().any(|way| way.occurs(traits))
    }

    /// Whether both entries are versions of one provider. Their names then begin alike, as in
    /// `github` and `github-sha1`.
    pub(super) fn is_version_of(&self, other: &Self) -> bool {
        is_version(self.name(), other.name())
    }
}

/// Whether one name is the other one, or continues it after a dash.
fn is_version(one: &str, other: &str) -> bool {
    let continues = |name: &str, base: &str| {
        let rest = name.strip_prefix(base);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    continues(one, other) || continues(other, one)
}
