//! A kit for the tests of a receiver: signed deliveries of every provider in the catalogue, a
//! clock that the test sets, and a store that forgets its events on demand.
//!
//! ```
//! use hookgate_gate::test_util::{TestClock, TestProvider};
//!
//! let clock = TestClock::new();
//! let stripe = TestProvider::named("stripe").clock(clock.clone());
//! let delivery = stripe.delivery(r#"{"id":"evt_1","type":"invoice.paid"}"#).path("/hooks/stripe");
//!
//! let good: http::Request<bytes::Bytes> = delivery.genuine();
//! let forged: http::Request<bytes::Bytes> = delivery.forged();
//! assert_eq!(good.body(), forged.body());
//! assert_ne!(good.headers()["stripe-signature"], forged.headers()["stripe-signature"]);
//!
//! // Configure the receiver with `stripe.secret()`, or take the whole source.
//! let source = stripe.source().build();
//! assert_eq!(source.provider(), Some("stripe"));
//! ```
//!
//! The keys of this module are public. Enable the feature `test-util` in `[dev-dependencies]`
//! only.

mod clock;
mod delivery;
mod keys;
mod provider;
mod store;

pub use self::clock::TestClock;
pub use self::delivery::TestDelivery;
pub use self::provider::TestProvider;
pub use self::store::TestStore;
