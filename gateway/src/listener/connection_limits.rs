//! Limits on the number of open connections, in all and for each client network.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use prometheus::IntGauge;

use crate::limits::refusal_rate::network;
use crate::stream::client;

/// Counts a connection while it is open.
pub(crate) struct ConnectionGuard<'m>(&'m IntGauge);

impl<'m> ConnectionGuard<'m> {
    /// `None` above the limit: the connection is closed unanswered, because
    /// answering it is what there is no room for.
    pub(crate) fn count(gauge: &'m IntGauge, limit: usize) -> Option<Self> {
        gauge.inc();
        let open = Self(gauge);
        let within = usize::try_from(gauge.get()).is_ok_and(|count| count <= limit);
        within.then_some(open)
    }
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Connections that are open, by the address of the client, of IPv6 its /64. Bounded by how many there
/// may be at all.
#[derive(Debug, Default)]
pub(crate) struct ConnectionsByAddress(Mutex<HashMap<IpAddr, usize>>);

/// Counts a connection of an address while it is open.
pub(crate) struct AddressGuard<'o> {
    all: &'o ConnectionsByAddress,
    address: Option<IpAddr>,
}

impl ConnectionsByAddress {
    /// `None` above the limit.
    pub(crate) fn count(&self, stream: &Stream, most: usize) -> Option<AddressGuard<'_>> {
        let address = client(stream).map(network);
        if let Some(address) = address {
            let mut open = self.0.lock();
            let open = open.entry(address).or_default();
            if *open >= most {
                return None;
            }
            *open += 1;
        }
        Some(AddressGuard { all: self, address })
    }
}

impl Drop for AddressGuard<'_> {
    fn drop(&mut self) {
        let Some(address) = self.address else {
            return;
        };
        if let Entry::Occupied(mut open) = self.all.0.lock().entry(address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}
