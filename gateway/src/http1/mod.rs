//! HTTP/1 on the wire (RFC 9112), for either side of the gateway. The parser of heads
//! is `httparse`; what is around it is here, because this is where a delivery's bytes
//! are read, and written: into one buffer, out of which head and body are cut without
//! a copy, and in as few system calls as there can be.

mod body;
mod connection;
mod head;

pub(crate) use self::body::{Body, Broken, Grammar};
pub(crate) use self::connection::{Connection, Unsent, Writing};
pub(crate) use self::head::{
    Flaw, MAX_FIELDS, MAX_HEAD, keeps_alive, read_answer, read_request, write_field,
    write_request_line, write_status_line,
};
