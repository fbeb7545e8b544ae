//! Request ids. An id names one request in the logs, in responses and at the upstream.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Generates ids that are unique within this process and between processes.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// A random prefix of this process, in hexadecimal.
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        // The operating system seeds `RandomState`.
        let process = RandomState::new().build_hasher().finish();
        Self {
            process: format!("{process:016x}"),
            next: AtomicU64::new(1),
        }
    }

    /// Returns the next id: 32 hexadecimal digits.
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut digits = [0; 16];
        // Encoding cannot fail, because the buffer has two digits for each byte.
        let _: Result<(), _> = hex::encode_to_slice(number.to_be_bytes(), &mut digits);
        let mut id = String::with_capacity(32);
        id.push_str(&self.process);
        id.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        id
    }
}
