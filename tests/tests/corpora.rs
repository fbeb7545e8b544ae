//! The committed corpora of `fuzz/`, replayed without libFuzzer: what a fuzzer
//! found once stays mended.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = fs::read_dir(folder.join(name)).expect("the corpus folder exists");
    let mut inputs = 0;
    for file in files {
        let path = file.expect("the entry is readable").path();
        // A panic shows no more than the input; this says which.
        println!("{}", path.display());
        target(&fs::read(path).expect("the file is readable"));
        inputs += 1;
    }
    assert!(inputs > 10, "{name}: {inputs}");
}

#[test]
fn any_text_as_a_scheme() {
    replay("scheme", fuzz::scheme);
}

#[test]
fn any_value_where_the_signature_is() {
    replay("signature_header", fuzz::signature_header);
}

#[test]
fn any_template_of_a_signed_message() {
    replay("template", fuzz::template);
}

#[test]
fn any_body() {
    replay("event_id", fuzz::event_id);
}
