//! The path of one request: admit the delivery, forward it to the upstream or store it in the
//! queue, settle its claim, and respond to the sender.

pub(crate) mod access_record;
pub(crate) mod admit;
pub(crate) mod attempt;
pub(crate) mod deliver;
pub(crate) mod downstream;
pub(crate) mod enqueue;
pub(crate) mod forward;
pub(crate) mod forwarded;
pub(crate) mod grpc_relay;
pub(crate) mod open_resends;
pub(crate) mod redirect;
pub(crate) mod refuse;
pub(crate) mod request_facts;
pub(crate) mod request_id;
pub(crate) mod resend;
pub(crate) mod respond;
pub(crate) mod route;
pub(crate) mod sender;
