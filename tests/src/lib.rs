//! What the suites share: a gateway process, an upstream that records, a
//! client, and the known-answer vectors.

mod certificates;
mod client;
mod delivery;
mod gateway;
mod upstream;
mod vectors;

pub use self::certificates::Certificates;
pub use self::client::{Protocol, Reply, admin, exchange_raw, send, send_over, try_send};
pub use self::delivery::{Provided, SECRETS, now};
pub use self::gateway::{Gateway, GatewayBuilder, binary};
pub use self::upstream::{Arrival, Behaviour, Upstream};
pub use self::vectors::{Vector, catalogue_vectors, seed_vectors};
