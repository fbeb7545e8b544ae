//! Size limits of heads that several modules share.

/// Maximum size of a request head in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// Maximum number of fields in a request head.
pub const MAX_FIELDS: usize = 100;

/// Maximum size of a response head in bytes. Upstreams are trusted with more than senders.
pub const MAX_RESPONSE_HEAD: usize = 256 * 1024;
/// Maximum number of fields in a response head.
pub const MAX_RESPONSE_FIELDS: usize = 256;
/// The greatest status code of HTTP (RFC 9110 §15).
pub const MAX_STATUS: u16 = 599;
