//! Fuzz target: any bytes as the head of an upstream's response.

use hookgate_http1::{
    Body, HeadError, HopByHop, ResponseFraming, read_response, write_field, write_status_line,
};
use http::{Method, response};

use super::http1::{connection, fields, ready, rest, split_size};

/// Reads `data`, after a byte for the size of the pieces, as a response head.
///
/// The result does not depend on the pieces. The status is one of HTTP. A head that is written
/// from the parts reads the same, so no value contains a line end. A head that contradicts itself
/// about the end of its body is refused, or its connection is not used again.
pub fn response_head(data: &[u8]) {
    let Some((size, wire)) = split_size(data) else {
        return;
    };
    let whole = read(wire, wire.len().max(1));
    let (parts, after) = match (whole, read(wire, size)) {
        (Ok((parts, rest)), Ok((again, other_rest))) => {
            assert_eq!(
                (parts.status, &parts.headers, &rest),
                (again.status, &again.headers, &other_rest)
            );
            (parts, rest)
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole.to_string(), pieces.to_string());
            return;
        }
        (whole, pieces) => panic!("{whole:?} and in pieces {pieces:?}"),
    };
    assert!(wire.ends_with(&after));
    assert!((100..=599).contains(&parts.status.as_u16()));
    check_written_anew(&parts);
    check_framing(&parts);
    check_hop_by_hop(&parts);
}

fn read(wire: &[u8], size: usize) -> Result<(response::Parts, Vec<u8>), HeadError> {
    let mut connection = connection(wire, size);
    let parts = ready(read_response(&mut connection))?;
    let rest = rest(&mut connection);
    Ok((parts, rest))
}

fn check_written_anew(parts: &response::Parts) {
    let mut head = Vec::new();
    write_status_line(&mut head, parts.status);
    for (name, value) in &parts.headers {
        write_field(&mut head, name.as_str(), value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    let (again, rest) = read(&head, head.len()).unwrap();
    assert_eq!(
        (again.status, fields(&again.headers)),
        (parts.status, fields(&parts.headers))
    );
    assert!(rest.is_empty());
}

fn check_framing(parts: &response::Parts) {
    let values = |name: &str| {
        let values = parts.headers.get_all(name).iter();
        values
            .map(|value| value.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    for method in [Method::POST, Method::HEAD] {
        let Some(framing) = ResponseFraming::of(&method, parts) else {
            continue;
        };
        let has_no_body = method == Method::HEAD || matches!(parts.status.as_u16(), 204 | 304);
        match framing.body {
            Body::Done => assert!(has_no_body),
            Body::Known(length) => {
                assert!(codings.is_empty());
                let same =
                    |text: &[u8]| std::str::from_utf8(text).unwrap().trim().parse() == Ok(length);
                let mut numbers = lengths
                    .iter()
                    .flat_map(|value| value.split(|byte| *byte == b','));
                assert!(numbers.all(same));
            }
            Body::Chunked(..) => {
                assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"));
                assert!(lengths.is_empty() || !framing.allows_reuse);
            }
            _ => assert!(lengths.is_empty() && codings.is_empty() && !framing.allows_reuse),
        }
    }
}

fn check_hop_by_hop(parts: &response::Parts) {
    let hop_by_hop = HopByHop::new(&parts.headers);
    for name in parts.headers.keys() {
        let stays = hop_by_hop.contains(name);
        match name.as_str() {
            "connection" | "transfer-encoding" | "te" | "trailer" | "upgrade" => assert!(stays),
            "content-length" => assert!(!stays),
            name if stays => assert!(is_listed(parts, name) || is_standard(name)),
            _ => {}
        }
    }
}

/// Returns whether `Connection` names the field.
fn is_listed(parts: &response::Parts, name: &str) -> bool {
    let values = parts.headers.get_all("connection").iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn is_standard(name: &str) -> bool {
    name == "keep-alive" || name.starts_with("proxy-")
}
