//! Outages of the upstream and of the gateway, with a queue: no accepted event is lost.

mod chaos;
mod cluster;
mod drain;
mod history;
mod lost_outcomes;
mod order;
mod outage;
mod retries;
mod scale;
mod senders;
mod sources;
