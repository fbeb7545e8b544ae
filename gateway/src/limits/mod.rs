//! Limits on requests that are not verified: the memory for their bodies, and the rate of
//! refusals for each client network.

mod eviction_order;
pub(crate) mod refusal_rate;
pub(crate) mod unverified_bodies;
