//! [`Engine`]: what the benchmark asks of a storage engine, and the delivery that it stores.

use std::path::Path;

/// The failure that stored deliveries survive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Survives {
    Process,
    Power,
}

pub trait Engine: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    fn open(folder: &Path, survives: Survives) -> Self;

    /// Stores the delivery with a number. Completes when the delivery survives.
    fn store(&self, number: u64) -> impl Future<Output = ()> + Send;

    /// Leases the deliveries that are due longest and removes them. Returns their number.
    fn take(&self) -> impl Future<Output = u64> + Send;
}

/// The number of deliveries that one call of [`Engine::take`] leases.
pub const TAKEN: usize = 64;

/// The key of a delivery. Real keys are hashes, so these are spread evenly too.
pub fn key(number: u64) -> [u8; 16] {
    u128::from(number)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

/// A head of 300 bytes and a body of 1 KiB.
pub const ENVELOPE: [u8; 300] = [b'h'; 300];
pub const BODY: [u8; 1024] = [b'b'; 1024];
