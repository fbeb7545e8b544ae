//! The committed corpora of `fuzz/`, replayed without libFuzzer, so that an input that once failed
//! is tested in every run. A new fuzz target needs a test here.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

/// Runs `target` on every input of the corpus `name`.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).expect("the corpus folder exists");
    let mut inputs = 0;
    for file in files {
        let path = file.expect("the entry is readable").path();
        // A panic does not name the file, so print it first.
        println!("{}", path.display());
        target(&fs::read(path).expect("the file is readable"));
        inputs += 1;
    }
    assert!(inputs > 10, "{name}: {inputs}");
}

#[test]
fn no_capture_changes_in_the_format_of_the_gateway() {
    replay("capture", fuzz::capture);
}

#[test]
fn no_text_breaks_the_scheme_parser() {
    replay("scheme", fuzz::scheme);
}

#[test]
fn no_header_value_verifies_without_a_genuine_signature() {
    replay("signature_header", fuzz::signature_header);
}

#[test]
fn no_accepted_template_is_ambiguous() {
    replay("template", fuzz::template);
}

#[test]
fn no_text_of_a_sender_changes_the_element_of_a_proxy() {
    replay("forwarded", fuzz::forwarded);
}

#[test]
fn no_body_yields_a_false_event_id() {
    replay("event_id", fuzz::event_id);
}

#[test]
fn no_request_head_has_two_readings() {
    replay("request_head", fuzz::request_head);
}

#[test]
fn no_framing_fields_have_two_readings() {
    replay("framing", fuzz::framing);
}

#[test]
fn no_chunked_body_has_two_readings() {
    replay("chunked_body", fuzz::chunked_body);
}

#[test]
fn no_response_head_has_two_readings() {
    replay("response_head", fuzz::response_head);
}

#[test]
fn no_connection_header_removes_another_field() {
    replay("hop_by_hop", fuzz::hop_by_hop);
}

#[test]
fn no_proxy_header_takes_a_byte_of_the_request() {
    replay("proxy_header", fuzz::proxy_header);
}

#[test]
fn no_connection_is_divided_in_another_way_by_hyper() {
    replay("differential", fuzz::differential);
}

#[test]
fn no_response_has_another_body_for_hyper() {
    replay("response_differential", fuzz::response_differential);
}

#[test]
fn no_form_yields_a_false_event_id() {
    replay("form", fuzz::form);
}

#[test]
fn no_damaged_row_or_content_of_a_queue_passes_for_a_stored_one() {
    replay("queue_record", fuzz::queue_record);
}

#[test]
fn no_message_of_a_queue_changes_when_it_is_buried_and_retried() {
    replay("queue_message", fuzz::queue_message);
}

#[test]
fn no_reply_of_redis_grants_the_claim_of_another() {
    replay("redis_reply", fuzz::redis_reply);
}

#[test]
fn no_document_has_two_keys_with_one_id() {
    replay("key_document", fuzz::key_document);
}
