//! Fuzz target: any body as a form, in both encodings. The event id is a field of the form.

use std::sync::OnceLock;

use bytes::Bytes;
use hookgate_core::{Head, Scheme};
use http::Request;
use percent_encoding::percent_decode;

use super::{NOW, Pair};

const BOUNDARY: &str = "fuzz";

fn pair(location: &str) -> Pair {
    let scheme = Scheme::from_toml(&format!(
        r#"
        alg = "hmac-sha256"
        sig = {{ in = "header:x-signature", enc = "hex" }}
        msg = "{{body}}"
        id = "{location}:id"
        "#
    ));
    let scheme = scheme.unwrap();
    let variant = scheme.variants().next().unwrap();
    Pair::new(&scheme, variant).unwrap()
}

/// Reads the id of a form. `data` starts with a byte for the encoding.
///
/// An id that is read is the value of the only field of this name, for the simplest reader: no
/// other reader can take another field for the id.
pub fn form(data: &[u8]) {
    static PAIRS: OnceLock<[Pair; 2]> = OnceLock::new();
    let [url_encoded, multipart] = PAIRS.get_or_init(|| ["form", "multipart"].map(pair));
    let Some((encoding, body)) = data.split_first() else {
        return;
    };
    match encoding & 1 {
        0 => {
            let content_type = "application/x-www-form-urlencoded";
            if let Some(id) = read_id(url_encoded, content_type, body) {
                assert_eq!(url_encoded_values(body), [id]);
            }
        }
        _ => {
            let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
            if let Some(id) = read_id(multipart, &content_type, body) {
                assert_eq!(multipart_values(body), [id]);
            }
        }
    }
}

/// Returns the id of a signed form, if it has one.
fn read_id(pair: &Pair, content_type: &str, body: &[u8]) -> Option<String> {
    let request = Request::post("/in").header("content-type", content_type);
    let body = Bytes::copy_from_slice(body);
    let request = request.body(body.clone()).unwrap();
    let signed = pair.signer.sign_request(request, NOW, None).ok()?;
    // The signer may add a field for an id that the body lacks.
    let is_unchanged = *signed.body() == body;
    let outcome = pair
        .verifier
        .verify(Head::from(&signed), signed.body().clone(), NOW);
    let verified = outcome.ok()?.delivery().unwrap();
    verified.id().filter(|_| is_unchanged).map(str::to_owned)
}

fn url_encoded_values(body: &[u8]) -> Vec<String> {
    let decode = |text: &[u8]| {
        let text: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        percent_decode(&text).collect::<Vec<u8>>()
    };
    let fields = body.split(|byte| *byte == b'&');
    let fields = fields.map(|field| {
        let mut halves = field.splitn(2, |byte| *byte == b'=');
        (
            decode(halves.next().unwrap_or_default()),
            decode(halves.next().unwrap_or_default()),
        )
    });
    let values = fields
        .filter(|(name, _)| name == b"id")
        .map(|(_, value)| value);
    values
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

/// Splits the body at each boundary, and takes each part that names the field anywhere in its head.
fn multipart_values(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let delimiter = format!("--{BOUNDARY}");
    let parts = text.split(&delimiter);
    let parts = parts.filter_map(|part| part.split_once("\r\n\r\n"));
    let named = parts.filter(|(head, _)| names_id(head));
    named
        .map(|(_, value)| value.strip_suffix("\r\n").unwrap_or(value).to_owned())
        .collect()
}

/// Returns whether a head has the parameter `name` with the value `id`. Only the name of a parameter
/// can have upper case.
fn names_id(head: &str) -> bool {
    let lower = head.to_ascii_lowercase();
    let mut values = lower
        .match_indices("name=")
        .map(|(at, found)| &head[at + found.len()..]);
    let end = [';', '\r', '\n', ' ', '\t'];
    values.any(|value| value.starts_with("\"id\"") || value.split(end).next() == Some("id"))
}
