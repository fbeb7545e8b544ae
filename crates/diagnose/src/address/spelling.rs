//! The spellings of an address: alternatives for each part, and their combinations.

use std::collections::HashSet;
use std::ops::ControlFlow;

use base64::Engine;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::escapes;
use super::forwarding::Forwarding;
use super::query;
use super::url::{Address, Part, other_scheme};
use crate::attempt::Effort;

/// The largest number of spellings.
const MAX_SPELLINGS: usize = 4000;
/// Prefixes that proxies commonly remove from paths.
const PREFIXES: [&str; 8] = [
    "/api",
    "/webhooks",
    "/webhook",
    "/hooks",
    "/v1",
    "/api/v1",
    "/app",
    "/api/webhooks",
];
/// Ports of development servers.
const DEV_PORTS: [&str; 4] = ["8080", "8443", "3000", "8000"];

/// The alternatives for each part of an address, the most likely ones first.
pub(super) struct Spellings {
    base: Address,
    /// The address that the headers of proxies show.
    assembled: Option<Address>,
    axes: [Vec<Alternative>; 6],
}

/// Another value of one part.
#[derive(Clone, PartialEq, Eq)]
enum Alternative {
    Scheme(String),
    User(Option<String>),
    Host(String),
    Port(Option<String>),
    Path(String),
    Query(Option<String>),
}

/// A function that receives spellings, and breaks when it needs no more.
type Visit<'v> = &'v mut dyn FnMut(Address) -> ControlFlow<()>;

impl Spellings {
    pub(super) fn new(base: &Address, forwarding: &Forwarding, headers: &HeaderMap) -> Self {
        let axes = Part::ALL.map(|part| {
            let mut alternatives = match part {
                Part::Scheme => vec![Alternative::Scheme(other_scheme(&base.scheme).to_owned())],
                Part::User => users(base, headers),
                Part::Host => hosts(base, forwarding),
                Part::Port => ports(base, forwarding),
                Part::Path => paths(base, forwarding),
                Part::Query => queries(base, forwarding),
            };
            let mut seen: Vec<Alternative> = Vec::new();
            alternatives.retain(|alternative| {
                let is_new = alternative.apply(base) != *base && !seen.contains(alternative);
                if is_new {
                    seen.push(alternative.clone());
                }
                is_new
            });
            alternatives
        });
        Self {
            base: base.clone(),
            assembled: forwarding.assembled(),
            axes,
        }
    }

    /// Visits the spellings: the address of the headers, single changes, and combinations.
    pub(super) fn each(&self, effort: Effort, visit: Visit<'_>) -> ControlFlow<()> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut visit = |address: Address| {
            if seen.len() == MAX_SPELLINGS {
                return ControlFlow::Break(());
            }
            match seen.insert(address.to_url()) {
                true => visit(address),
                false => ControlFlow::Continue(()),
            }
        };
        if let Some(assembled) = &self.assembled {
            visit(assembled.clone())?;
            // The query of the request is not always the configured one.
            visit(Address {
                query: self.base.query.clone(),
                ..assembled.clone()
            })?;
        }
        self.combine(&self.base, 0, 1, 1, &mut visit)?;
        if effort == Effort::Common {
            return ControlFlow::Continue(());
        }
        // The more parts change together, the fewer alternatives of each are likely.
        for (count, width) in [(1, usize::MAX), (2, 24), (3, 4), (4, 3), (5, 2), (6, 2)] {
            self.combine(&self.base, 0, count, width, &mut visit)?;
        }
        ControlFlow::Continue(())
    }

    /// Visits `address` with alternatives for `count` of the parts from `first` on.
    fn combine(
        &self,
        address: &Address,
        first: usize,
        count: usize,
        width: usize,
        visit: Visit<'_>,
    ) -> ControlFlow<()> {
        if count == 0 {
            return visit(address.clone());
        }
        for (index, axis) in self.axes.iter().enumerate().skip(first) {
            for alternative in axis.iter().take(width) {
                let changed = alternative.apply(address);
                self.combine(&changed, index + 1, count - 1, width, visit)?;
            }
        }
        ControlFlow::Continue(())
    }
}

impl Alternative {
    fn apply(&self, address: &Address) -> Address {
        let mut address = address.clone();
        match self.clone() {
            Self::Scheme(scheme) => address.scheme = scheme,
            Self::User(user) => address.user = user,
            Self::Host(host) => address.host = host,
            Self::Port(port) => address.port = port,
            Self::Path(path) => address.path = path,
            Self::Query(query) => address.query = query,
        }
        address
    }
}

/// Returns the user of the header `authorization`, which a provider has taken from its URL.
fn users(base: &Address, headers: &HeaderMap) -> Vec<Alternative> {
    let basic = headers.get(AUTHORIZATION).and_then(|value| {
        let (kind, text) = value.to_str().ok()?.split_once(' ')?;
        let text = base64::engine::general_purpose::STANDARD
            .decode(text.trim())
            .ok()?;
        let user = String::from_utf8(text).ok()?;
        kind.eq_ignore_ascii_case("basic").then_some(user)
    });
    match &base.user {
        Some(_) => vec![Alternative::User(None)],
        None => basic
            .map(|user| Alternative::User(Some(user)))
            .into_iter()
            .collect(),
    }
}

fn hosts(base: &Address, forwarding: &Forwarding) -> Vec<Alternative> {
    let www = match base.host.strip_prefix("www.") {
        Some(rest) => rest.to_owned(),
        None => format!("www.{}", base.host),
    };
    let dotted = match base.host.strip_suffix('.') {
        Some(rest) => rest.to_owned(),
        None => format!("{}.", base.host),
    };
    let forwarded = forwarding.hosts.iter().map(|(host, _)| host.clone());
    let with_www = forwarded.clone().map(|host| format!("www.{host}"));
    let own = [www, base.host.to_ascii_lowercase()];
    let all = own
        .into_iter()
        .chain(forwarded)
        .chain([dotted])
        .chain(with_www);
    all.map(Alternative::Host).collect()
}

fn ports(base: &Address, forwarding: &Forwarding) -> Vec<Alternative> {
    let default = ["443", "80"].map(str::to_owned);
    let common = match &*base.scheme {
        "https" => default,
        _ => [default[1].clone(), default[0].clone()],
    };
    let of_hosts = forwarding.hosts.iter().filter_map(|(_, port)| port.clone());
    let forwarded = forwarding.ports.iter().cloned().chain(of_hosts);
    let dev = DEV_PORTS.map(str::to_owned);
    let added = common.into_iter().chain(forwarded).chain(dev).map(Some);
    [None]
        .into_iter()
        .chain(added)
        .map(Alternative::Port)
        .collect()
}

fn paths(base: &Address, forwarding: &Forwarding) -> Vec<Alternative> {
    let path = base.path.as_str();
    let slash = match path.strip_suffix('/') {
        Some(rest) => rest.to_owned(),
        None => format!("{path}/"),
    };
    let targets = forwarding.targets.iter().map(|(path, _)| path.clone());
    let forwarded = forwarding
        .prefixes
        .iter()
        .map(|prefix| format!("{prefix}{path}"));
    let mut all = vec![slash];
    all.extend(targets);
    all.extend(forwarded);
    // A proxy removes or adds the first segment, or the first two.
    let segment_ends = path.match_indices('/').map(|(at, _)| at).skip(1).take(2);
    all.extend(segment_ends.map(|end| path[end..].to_owned()));
    all.push(format!("{}/", path.trim_end_matches('/')));
    all.push(path.trim_end_matches('/').to_owned());
    all.push(single_slashes(path));
    all.extend(PREFIXES.map(|prefix| format!("{prefix}{path}")));
    all.extend(escapes::spellings(path));
    all.push(path.to_ascii_lowercase());
    all.push(format!("/{path}"));
    all.into_iter().map(Alternative::Path).collect()
}

fn queries(base: &Address, forwarding: &Forwarding) -> Vec<Alternative> {
    let forwarded = forwarding.targets.iter().map(|(_, query)| query.clone());
    let own = query::spellings(base.query.as_deref());
    let respelled = forwarded.clone().flatten().take(2);
    let respelled: Vec<_> = respelled
        .flat_map(|query| query::spellings(Some(&query)))
        .collect();
    let all = forwarded.chain(own).chain(respelled);
    all.map(Alternative::Query).collect()
}

fn single_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    single
}
