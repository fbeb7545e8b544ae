//! HTTP/1 messages on the wire (RFC 9112), for both sides of a proxy.
//!
//! A [`Connection`] owns a byte stream and one read buffer. [`read_request`] and
//! [`read_response`] parse a head out of that buffer, [`Body`] reads the body that
//! follows, and [`Connection::send`] writes a head and a body with one system call.
//! Heads and bodies are slices of the buffer, so nothing is copied.
//!
//! Requests are parsed strictly, because a proxy in front may parse them in another way.
//! Responses are parsed leniently, because only their own sender depends on the result.
//! `httparse` parses the lines of a head; every rule about framing is in this crate.

#![forbid(unsafe_code)]

mod body;
mod connection;
mod early_response;
mod error;
mod framing;
mod head;
mod hop_by_hop;
mod limits;
mod scan;
mod write;

pub use self::body::{Body, Strictness};
pub use self::connection::{Connection, Transport, WriteError, WriteMode};
pub use self::error::{BodyError, HeadError};
pub use self::framing::{
    BodyLen, ResponseFraming, check_request, content_length, is_host, keeps_alive,
    parse_content_length,
};
pub use self::head::{read_request, read_response};
pub use self::hop_by_hop::HopByHop;
pub use self::limits::{MAX_FIELDS, MAX_HEAD, MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD, MAX_STATUS};
pub use self::write::{write_field, write_request_line, write_status_line};
