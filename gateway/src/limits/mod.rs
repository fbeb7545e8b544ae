//! Limits on requests that have not verified: the memory budget of their bodies, and the
//! rate of refusals for each client network.

pub(crate) mod refusal_rate;
pub(crate) mod unverified_bodies;
