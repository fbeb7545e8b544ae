//! The order of providers that fit a delivery. `identify` and the search share it.

use std::cmp::Reverse;

use super::catalogue::{Catalogue, Entry};
use super::traits::Traits;
use super::way::Strength;
use super::{marks, popularity};

/// User agents of HTTP libraries, which name no provider.
const GENERIC_AGENTS: [&str; 1] = ["Go-http-client/"];
/// Providers that also run applications. Their proxies add headers with their names to
/// deliveries of every provider.
const PLATFORMS: [&str; 5] = ["heroku", "netlify", "render", "supabase", "vercel"];
/// Points for a mark.
const MARK: usize = 10;
/// Points for a header or a user agent that contains the name of the provider.
const NAME: usize = 8;
/// Points for a header that only this provider reads.
const OWN_HEADER: usize = 8;
/// Points for a header that few providers read.
const SHARED_HEADER: usize = 2;
/// The largest number of providers that are few.
const FEW: usize = 5;
/// Points for the user agent of the provider's documentation.
const AGENT: usize = 6;
/// Points for a member of the body that only this provider reads.
const OWN_MEMBER: usize = 3;

/// The reasons to prefer a provider, in points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Points for values that name the provider.
    pub(super) named: usize,
    /// Points for values that its scheme reads.
    pub(super) read: usize,
}

/// The sort key of a provider. The smallest one is the most likely provider.
pub(super) type Rank<'e> = (
    Reverse<usize>,
    Reverse<Option<Strength>>,
    bool,
    usize,
    &'e str,
);

/// Returns `candidates`, the most likely one first.
pub(super) fn ranked<'e>(
    candidates: impl Iterator<Item = &'e Entry>,
    traits: &Traits<'_>,
) -> Vec<&'e Entry> {
    let mut ranked: Vec<_> = candidates
        .map(|entry| (rank(entry, traits), entry))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

fn rank<'e>(entry: &'e Entry, traits: &Traits<'_>) -> Rank<'e> {
    let evidence = Evidence::of(entry, traits);
    let is_usual = is_usual(entry, traits);
    let ways = entry.ways.iter().filter(|way| way.occurs(traits));
    let strength = ways.map(|way| way.strength()).max();
    (
        Reverse(evidence.named + evidence.read),
        Reverse(strength),
        !is_usual,
        popularity::place(entry.name()),
        entry.name(),
    )
}

impl Evidence {
    pub(super) fn of(entry: &Entry, traits: &Traits<'_>) -> Self {
        let name = Name::of(entry.name());
        let agent = match agent_of(entry) {
            Some(agent) if traits.user_agent.starts_with(agent) => AGENT,
            _ if name.is_in(traits.user_agent) => NAME,
            _ => 0,
        };
        let is_platform = PLATFORMS.contains(&entry.name());
        let mut others = traits
            .headers
            .keys()
            .filter(|name| !entry.headers.contains(name));
        let header = !is_platform && others.any(|header| name.is_in(header.as_str()));
        let marks = match is_usual(entry, traits) {
            true => marks::count(entry.name(), traits).min(2),
            false => 0,
        };
        Self {
            named: agent + usize::from(header) * NAME + marks * MARK,
            read: read_headers(entry, traits) + read_members(entry, traits),
        }
    }
}

/// Whether the delivery can have a signature of the first variant. Most deliveries of a provider
/// have that one.
fn is_usual(entry: &Entry, traits: &Traits<'_>) -> bool {
    entry.ways.first().is_some_and(|way| way.occurs(traits))
}

fn read_headers(entry: &Entry, traits: &Traits<'_>) -> usize {
    let present = entry
        .headers
        .iter()
        .filter(|name| traits.headers.contains_key(*name));
    let points = present.map(|name| match Catalogue::get().readers(name) {
        1 => OWN_HEADER,
        2..=FEW => SHARED_HEADER,
        _ => 0,
    });
    points.sum()
}

fn read_members(entry: &Entry, traits: &Traits<'_>) -> usize {
    let present = entry
        .members
        .iter()
        .filter(|member| traits.member(member).is_some());
    let own = present.filter(|member| Catalogue::get().member_readers(member) == 1);
    own.count().min(1) * OWN_MEMBER
}

fn agent_of(entry: &Entry) -> Option<&str> {
    let agent = entry.provider.facts().user_agent()?.value();
    (!GENERIC_AGENTS.contains(&&**agent)).then_some(agent)
}

/// The name of a provider, as its headers and user agents contain it.
struct Name {
    /// The words of the name, with a dash around each.
    words: String,
    /// The name without dashes.
    joined: String,
}

/// The shortest name that counts at the beginning of a longer word.
const MIN_PREFIX: usize = 5;

impl Name {
    fn of(provider: &str) -> Self {
        // A version of a provider sends the name of that provider.
        let base = provider
            .split_once("-sha1")
            .map_or(provider, |(base, _)| base);
        Self {
            words: format!("-{base}-"),
            joined: base.replace('-', ""),
        }
    }

    /// Whether `text` contains the name as words of its own.
    fn is_in(&self, text: &str) -> bool {
        let mut dashed = String::with_capacity(text.len() + 2);
        dashed.push('-');
        dashed.extend(text.chars().map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_lowercase(),
            false => '-',
        }));
        dashed.push('-');
        let is_joined = dashed
            .split('-')
            .any(|word| match self.joined.len() >= MIN_PREFIX {
                true => word.starts_with(&self.joined),
                false => word == self.joined,
            });
        is_joined || dashed.contains(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_word() {
        for (provider, text, found) in [
            ("github", "x-github-event", true),
            ("github-sha1", "GitHub-Hookshot/ab12", true),
            ("customer-io", "x-customer-io-id", true),
            ("customer-io", "CustomerIO/1.0", true),
            ("meta", "x-metadata-id", false),
            ("line", "LineBotWebhook/2.0", false),
            ("slack", "Slackbot 1.0", true),
            ("box", "x-mailbox", false),
            ("stripe", "Mozilla/5.0", false),
        ] {
            assert_eq!(Name::of(provider).is_in(text), found, "{provider} {text}");
        }
    }
}
