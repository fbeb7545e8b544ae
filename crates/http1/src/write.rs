//! Writes the lines of a head into a buffer.

use bytes::BufMut;
use http::{Method, StatusCode};

/// Writes the request line.
pub fn write_request_line(buffer: &mut Vec<u8>, method: &Method, target: &str) {
    buffer.put_slice(method.as_str().as_bytes());
    buffer.put_u8(b' ');
    buffer.put_slice(target.as_bytes());
    buffer.put_slice(b" HTTP/1.1\r\n");
}

/// Writes the status line.
pub fn write_status_line(buffer: &mut Vec<u8>, status: StatusCode) {
    buffer.put_slice(b"HTTP/1.1 ");
    buffer.put_slice(status.as_str().as_bytes());
    buffer.put_u8(b' ');
    buffer.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    buffer.put_slice(b"\r\n");
}

/// Writes one field line. Neither the name nor the value may contain CR or LF.
pub fn write_field(buffer: &mut Vec<u8>, name: &str, value: &[u8]) {
    buffer.put_slice(name.as_bytes());
    buffer.put_slice(b": ");
    buffer.put_slice(value);
    buffer.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_head_end_with_cr_lf() {
        let mut request = Vec::new();
        write_request_line(&mut request, &Method::POST, "/a?b");
        write_field(&mut request, "host", b"h");
        assert_eq!(request, b"POST /a?b HTTP/1.1\r\nhost: h\r\n");
        for (status, expected) in [
            (404, "HTTP/1.1 404 Not Found\r\n"),
            // A status without a name still has the blank before it (RFC 9112 §4).
            (599, "HTTP/1.1 599 \r\n"),
        ] {
            let mut response = Vec::new();
            let status = StatusCode::from_u16(status).expect("a status");
            write_status_line(&mut response, status);
            assert_eq!(response, expected.as_bytes());
        }
    }
}
