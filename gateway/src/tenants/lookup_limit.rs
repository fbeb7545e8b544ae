//! Limits the requests to a resolver that are in flight.
//!
//! A sender can invent names of tenants without an end. Half of the requests belong to tenants that
//! the resolver has known before, whose cached secrets are too old. Of the other half, each client
//! network has a share, so that one address does not keep the names of others waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hookgate_core::internal::client_network;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The number of requests for tenants that have been known before.
const MAX_KNOWN: usize = 32;
/// The number of requests for other names.
const MAX_OTHER: usize = 32;
/// The number of these requests for one network.
const MAX_OF_NETWORK: usize = 8;

/// The client or the tenant that a lookup counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupFor {
    /// A tenant that has been known before.
    Known,
    /// A client who has named a tenant that is not known. Clients without an address, such as those
    /// of a Unix socket, count as one.
    Client(Option<IpAddr>),
}

/// The requests in flight.
#[derive(Debug)]
pub(super) struct LookupLimit {
    known: Semaphore,
    other: Semaphore,
    /// The networks with requests in flight, or with requests that wait.
    networks: Mutex<HashMap<Option<IpAddr>, Arc<Semaphore>>>,
}

/// A request in flight. Its drop ends it.
#[derive(Debug)]
pub(super) struct LookupPermit<'l> {
    _request: Option<SemaphorePermit<'l>>,
    _share: Option<(OwnedSemaphorePermit, Network<'l>)>,
}

/// A network with a request. The last one removes the network.
#[derive(Debug)]
struct Network<'l> {
    limit: &'l LookupLimit,
    network: Option<IpAddr>,
    share: Arc<Semaphore>,
}

impl LookupLimit {
    pub(super) fn new() -> Self {
        Self {
            known: Semaphore::new(MAX_KNOWN),
            other: Semaphore::new(MAX_OTHER),
            networks: Mutex::default(),
        }
    }

    /// Waits until another request may start. The caller sets a time limit.
    pub(super) async fn acquire(&self, lookup: LookupFor) -> LookupPermit<'_> {
        // No semaphore is ever closed.
        let client = match lookup {
            LookupFor::Known => {
                return LookupPermit {
                    _request: self.known.acquire().await.ok(),
                    _share: None,
                };
            }
            LookupFor::Client(client) => client,
        };
        let network = self.network(client.map(client_network));
        let share = Arc::clone(&network.share).acquire_owned().await.ok();
        LookupPermit {
            _request: self.other.acquire().await.ok(),
            _share: share.map(|share| (share, network)),
        }
    }

    fn network(&self, network: Option<IpAddr>) -> Network<'_> {
        let mut networks = self.networks.lock();
        let share = networks
            .entry(network)
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_OF_NETWORK)));
        Network {
            limit: self,
            network,
            share: Arc::clone(share),
        }
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        let mut networks = self.limit.networks.lock();
        // The map has one reference, and this request has the other.
        if Arc::strong_count(&self.share) == 2 {
            networks.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn client(address: &str) -> LookupFor {
        LookupFor::Client(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_network_does_not_keep_others_waiting() {
        let limit = LookupLimit::new();
        let take = |lookup| limit.acquire(lookup).now_or_never();
        let mut flood: Vec<_> = (0..100).filter_map(|_| take(client("192.0.2.1"))).collect();
        assert_eq!(flood.len(), MAX_OF_NETWORK);
        for lookup in [
            client("192.0.2.2"),
            client("2001:db8::1"),
            LookupFor::Client(None),
            LookupFor::Known,
        ] {
            assert!(take(lookup).is_some(), "{lookup:?}");
        }
        // The network has the next request after one of its own ends.
        assert!(take(client("192.0.2.1")).is_none());
        flood.pop();
        assert!(take(client("192.0.2.1")).is_some());
    }

    #[test]
    fn a_flood_from_many_networks_leaves_half_for_known_tenants() {
        let limit = LookupLimit::new();
        let networks = (0..1000).map(|number: u32| IpAddr::from(number.to_be_bytes()));
        let flood: Vec<_> = networks
            .filter_map(|address| {
                limit
                    .acquire(LookupFor::Client(Some(address)))
                    .now_or_never()
            })
            .collect();
        assert_eq!(flood.len(), MAX_OTHER);
        let known: Vec<_> = (0..100)
            .filter_map(|_| limit.acquire(LookupFor::Known).now_or_never())
            .collect();
        assert_eq!(known.len(), MAX_KNOWN);
        // No network stays in memory after its requests.
        assert_eq!(limit.networks.lock().len(), MAX_OTHER);
        drop(flood);
        assert!(limit.networks.lock().is_empty());
    }
}
