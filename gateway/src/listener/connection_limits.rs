//! The limit on the number of open connections of each client network.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use pingora_core::protocols::Stream;

use crate::client_address::ClientAddress;

/// Open connections for each client network: an IPv4 address, an IPv6 /64, or all Unix sockets
/// together. The total connection limit bounds the size of the map.
#[derive(Debug, Default)]
pub(crate) struct ConnectionsByAddress(Mutex<HashMap<ClientAddress, usize>>);

/// Counts a connection of a client network until it is dropped.
pub(crate) struct AddressGuard<'c> {
    connections: &'c ConnectionsByAddress,
    network: Option<ClientAddress>,
}

impl ConnectionsByAddress {
    /// Counts a connection. Returns `None` if its network has `limit` open connections.
    pub(crate) fn acquire(&self, stream: &Stream, limit: usize) -> Option<AddressGuard<'_>> {
        let network = ClientAddress::of_peer(stream).map(ClientAddress::network);
        if let Some(network) = network {
            let mut counts = self.0.lock();
            let count = counts.entry(network).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        Some(AddressGuard {
            connections: self,
            network,
        })
    }
}

impl Drop for AddressGuard<'_> {
    fn drop(&mut self) {
        let Some(network) = self.network else {
            return;
        };
        if let Entry::Occupied(mut count) = self.connections.0.lock().entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
