//! Signatures that a policy refuses, and limits of size.

use super::rfc::cases;
use super::*;
use crate::message_signature::draft::DraftError;

/// Reads a request with a policy that demands only `date`.
fn read(input: &str, signature: &str) -> Result<MessageSignature, VerifyError> {
    policy(&["date"]).read(Request::signed(input, signature).head(), None)
}

fn refusal(input: &str, signature: &str) -> Option<VerifyError> {
    read(input, signature).err()
}

#[test]
fn a_signature_needs_the_same_label_in_both_headers() {
    use VerifyError::{SignatureMalformed, SignatureMissing, SignatureRepeated};

    let request = Request::of_the_rfc();
    let refused = policy(&[]).read(request.head(), None).unwrap_err();
    assert_eq!(refused, SignatureMissing);
    let request = request.with(SIGNATURE_INPUT, "a=(\"date\")");
    let refused = policy(&[]).read(request.head(), None).unwrap_err();
    assert_eq!(refused, SignatureMissing);
    let request = Request::of_the_rfc().with(SIGNATURE, "a=:AAAA:");
    let refused = policy(&[]).read(request.head(), None).unwrap_err();
    assert_eq!(refused, SignatureMissing);

    for (label, input, signature, expected) in [
        (None, "a=(\"date\")", "a=:AAAA:", None),
        (Some("a"), "a=(\"date\")", "a=:AAAA:", None),
        (
            Some("a"),
            "b=(\"date\"), a=(\"date\")",
            "a=:AAAA:, b=:AAAA:",
            None,
        ),
        (None, "", "", Some(SignatureMissing)),
        (None, "a=(\"date\")", "b=:AAAA:", Some(SignatureMissing)),
        (
            Some("b"),
            "a=(\"date\")",
            "a=:AAAA:",
            Some(SignatureMissing),
        ),
        (
            Some("A"),
            "a=(\"date\")",
            "a=:AAAA:",
            Some(SignatureMissing),
        ),
        (
            None,
            "a=(\"date\"), b=(\"date\")",
            "a=:AAAA:, b=:AAAA:",
            Some(SignatureRepeated),
        ),
        // A label in only one of the headers is refused: the headers contradict each other.
        (
            None,
            "a=(\"date\")",
            "a=:AAAA:, b=:AAAA:",
            Some(SignatureMalformed),
        ),
        (
            Some("a"),
            "a=(\"date\"), b=(\"date\")",
            "a=:AAAA:",
            Some(SignatureMalformed),
        ),
        (
            Some("a"),
            "a=(\"date\"), b=(\"date\")",
            "a=:AAAA:, c=:AAAA:",
            Some(SignatureMalformed),
        ),
        (
            Some("a"),
            "a=(\"date\"), a=(\"date\")",
            "a=:AAAA:",
            Some(SignatureRepeated),
        ),
        (
            Some("a"),
            "a=(\"date\")",
            "a=:AAAA:, a=:AAAA:",
            Some(SignatureRepeated),
        ),
        (
            Some("a"),
            "a=(\"date\"), b=(\"date\"), b=(\"date\")",
            "a=:AAAA:, b=:AAAA:",
            Some(SignatureRepeated),
        ),
    ] {
        let policy = Policy {
            label: label.map(str::to_owned),
            ..policy(&["date"])
        };
        let request = Request::signed(input, signature);
        let found = policy.read(request.head(), None).err();
        assert_eq!(found, expected, "{label:?} {input} {signature}");
    }
}

#[test]
fn signatures_may_span_several_header_lines() {
    let policy = Policy {
        label: Some("b".to_owned()),
        ..policy(&["date"])
    };
    let request = Request::signed("a=()", "b=:AAAB:, c=::");
    let request = request
        .with(SIGNATURE_INPUT, "b=(\"date\"), c=()")
        .with(SIGNATURE, "a=:AAAA:");
    let found = policy.read(request.head(), None).unwrap();
    assert_eq!(found.signature, [0, 0, 1]);
    assert!(found.base.ends_with(b"(\"date\")"));
    // A label that is repeated on another line is refused.
    let refused = policy.read(request.with(SIGNATURE, "a=:AAAA:").head(), None);
    assert_eq!(refused.unwrap_err(), VerifyError::SignatureRepeated);
}

#[test]
fn a_delivery_with_too_many_signatures_is_refused() {
    let fields = |count: usize| {
        let labels = || (0..count).map(|label| format!("s{label}="));
        let join = |items: Vec<String>| items.join(", ");
        (
            join(labels().map(|label| label + "(\"date\")").collect()),
            join(labels().map(|label| label + ":AAAA:").collect()),
        )
    };
    let policy = Policy {
        label: Some("s0".to_owned()),
        ..policy(&["date"])
    };
    let read = |count| {
        let (input, signature) = fields(count);
        let request = Request::signed(&input, &signature);
        policy.read(request.head(), None).err()
    };
    assert_eq!(read(crate::MAX_CANDIDATES), None);
    let one_more = read(crate::MAX_CANDIDATES + 1);
    assert_eq!(one_more, Some(VerifyError::SignatureTooMany));
}

#[test]
fn a_malformed_signature_field_is_refused() {
    for input in [
        "a",
        "a=1",
        "a=\"date\"",
        "a=(\"date\"",
        "a=\"date\")",
        "a=(\"date\"),",
        "a=(\"date\"),,b=()",
        "a=(\"date\" \"host\"",
        "a=(\"date\"\"host\")",
        "a=(\"date\", \"host\")",
        "a=(\"date)",
        "a=(\"date\\n\")",
        "a=(\"date\");",
        "a=(\"date\");created=",
        "A=(\"date\")",
        "a =(\"date\")",
        "a= (\"date\")",
        "=(\"date\")",
        "(\"date\")",
        "a=(\"date\") x",
        "a=((\"date\"))",
        "a=(\"date\");created=@1618884473",
        "a=(\"date\");unknown=@1618884473",
    ] {
        let found = refusal(input, "a=:AAAA:");
        assert_eq!(found, Some(VerifyError::SignatureMalformed), "{input}");
    }
    // Unknown parameters of `Signature` are ignored, as in any structured field.
    assert_eq!(refusal("a=(\"date\")", "a=:AAAA:;x=1"), None);
    for signature in [
        "a",
        "a=1",
        "a=\"AAAA\"",
        "a=AAAA",
        "a=(:AAAA:)",
        "a=:AAAA",
        "a=:AA_A:",
        "a=:A:",
        "a=:AAAA:,",
        "a=:AAAA: b",
    ] {
        let found = refusal("a=(\"date\")", signature);
        assert_eq!(found, Some(VerifyError::SignatureMalformed), "{signature}");
    }
}

#[test]
fn an_unknown_repeated_or_parameterized_component_is_refused() {
    assert_eq!(refusal("a=(\"date\")", "a=:AAAA:"), None);
    for component in [
        "host",
        "1",
        ":AAAA:",
        "\"\"",
        "\"Host\"",
        "\"ho st\"",
        "\"host:\"",
        "\"@\"",
        "\"@status\"",
        "\"@unknown\"",
        "\"@Method\"",
        "\"@signature-params\"",
        "\"@query-params\"",
        "\"host\";sf",
        "\"host\";bs",
        "\"host\";req",
        "\"host\";tr",
        "\"host\";key=\"a\"",
        "\"host\";name=\"a\"",
        "\"host\";unknown",
        "\"host\";sf=?0",
        "\"@method\";req",
        "\"@method\";name=\"Pet\"",
        "\"@query-param\"",
        "\"@query-param\";name",
        "\"@query-param\";name=Pet",
        "\"@query-param\";name=\"Pet\";req",
        "\"@query-param\";req;name=\"Pet\"",
        "\"@query-param\";name=\"Pet\";name=\"Pet\"",
        "\"@query-param\";key=\"Pet\"",
        "\"date\"",
        "\"host\" \"host\"",
        "\"@path\" \"@path\"",
        "\"@query-param\";name=\"Pet\" \"@query-param\";name=\"Pet\"",
    ] {
        let found = refusal(&format!("a=(\"date\" {component})"), "a=:AAAA:");
        assert_eq!(found, Some(VerifyError::SignatureMalformed), "{component}");
    }
    let two = "a=(\"date\" \"@query-param\";name=\"Pet\" \"@query-param\";name=\"param\")";
    assert_eq!(refusal(two, "a=:AAAA:"), None);
}

#[test]
fn too_many_components_or_parameters_are_refused() {
    let refused = |components: usize, parameters: usize| {
        let mut request = Request::of_the_rfc();
        let mut input = "a=(\"date\"".to_owned();
        for index in 1..components {
            input += &format!(" \"x-{index}\"");
            let name = HeaderName::try_from(format!("x-{index}")).unwrap();
            request.headers.insert(name, HeaderValue::from_static(""));
        }
        input.push(')');
        for index in 0..parameters {
            input += &format!(";x{index}");
        }
        let request = request
            .with(SIGNATURE_INPUT, &input)
            .with(SIGNATURE, "a=:AAAA:");
        policy(&["date"]).read(request.head(), None).err()
    };
    assert_eq!(refused(64, 64), None);
    assert_eq!(refused(65, 0), Some(VerifyError::SignatureMalformed));
    assert_eq!(refused(1, 65), Some(VerifyError::SignatureMalformed));
}

#[test]
fn a_mistyped_or_repeated_parameter_is_refused() {
    let read = |parameters: &str| read(&format!("a=(\"date\"){parameters}"), "a=:AAAA:");
    let good =
        read(";created=1;expires=-2;nonce=\"\";keyid=\"k\\\"\";alg=\"hmac-sha256\";tag=\"t\"");
    let good = good.unwrap();
    assert_eq!(good.created, Some(UnixTime::from_secs(1)));
    assert_eq!(good.expires, Some(UnixTime::from_secs(-2)));
    assert_eq!(good.nonce.as_deref(), Some(""));
    assert_eq!(good.keyid.as_deref(), Some("k\""));
    for parameters in [
        ";created",
        ";created=\"1618884473\"",
        ";created=1618884473.0",
        ";created=1618884473000000000",
        ";expires=t",
        ";expires=:AAAA:",
        ";nonce=n",
        ";nonce=1",
        ";nonce=:AAAA:",
        ";keyid=k",
        ";keyid",
        ";alg=hmac-sha256",
        ";tag=t",
        ";created=1;created=1",
        ";created=1;created=2",
        ";keyid=\"a\";keyid=\"b\"",
        ";x=1;x=2",
    ] {
        let found = read(parameters).unwrap_err();
        assert_eq!(found, VerifyError::SignatureMalformed, "{parameters}");
    }
}

#[test]
fn unknown_parameters_are_signed_and_have_no_effect() {
    // The signature base has the canonical form, whatever the spelling in the header.
    let found = read(
        "a=(  \"date\"   \"@method\" ); created=1;  x=?1;y=1.50;z=tok;w=:AAA:;v=\"\\\\\"",
        "a=:AAAA:",
    );
    let base = String::from_utf8(found.unwrap().base).unwrap();
    assert_eq!(
        base.lines().last(),
        Some(
            "\"@signature-params\": (\"date\" \"@method\")\
             ;created=1;x;y=1.5;z=tok;w=:AAA=:;v=\"\\\\\""
        )
    );
}

#[test]
fn the_sender_cannot_choose_the_algorithm_or_the_tag() {
    let read = |tag: Option<&str>, parameters: &str| {
        let policy = Policy {
            tag: tag.map(str::to_owned),
            ..policy(&["date"])
        };
        let request = Request::signed(&format!("a=(\"date\"){parameters}"), "a=:AAAA:");
        policy.read(request.head(), None).err()
    };
    let other = Some(VerifyError::SignatureVersionUnknown);
    for (tag, parameters, expected) in [
        (None, "", None),
        (None, ";alg=\"hmac-sha256\"", None),
        (None, ";alg=\"HMAC-SHA256\"", other),
        (None, ";alg=\"ed25519\"", other),
        (None, ";alg=\"\"", other),
        (None, ";tag=\"any\"", None),
        (Some("app"), ";tag=\"app\"", None),
        (Some("app"), "", other),
        (Some("app"), ";tag=\"App\"", other),
        (Some("app"), ";tag=\"\"", other),
        (Some(""), "", other),
    ] {
        assert_eq!(read(tag, parameters), expected, "{tag:?} {parameters}");
    }
}

#[test]
fn demanded_components_must_be_covered_and_covered_components_present() {
    let read = |input: &str, demanded: &[&str]| {
        let request = Request::signed(input, "a=:AAAA:");
        policy(demanded).read(request.head(), None).err()
    };
    let missing = Some(VerifyError::FieldMissing);
    for (input, demanded, expected) in [
        ("a=()", &[][..], None),
        ("a=(\"date\" \"@path\")", &["@path", "date"], None),
        ("a=(\"date\")", &["@path"], missing),
        ("a=(\"@path\")", &["@path", "content-digest"], missing),
        ("a=(\"path\")", &["@path"], missing),
        (
            "a=(\"@query-param\";name=\"Pet\")",
            &["@query-param;name=Pet"],
            None,
        ),
        (
            "a=(\"@query-param\";name=\"param\")",
            &["@query-param;name=Pet"],
            missing,
        ),
        ("a=(\"x-absent\")", &[], missing),
        ("a=(\"@query-param\";name=\"pet\")", &[], missing),
        ("a=(\"@scheme\")", &[], missing),
        ("a=(\"@target-uri\")", &[], missing),
    ] {
        assert_eq!(read(input, demanded), expected, "{input}");
    }
}

#[test]
fn a_digest_is_read_only_if_it_is_covered() {
    let mut request = Request::signed("a=(\"content-digest\")", "a=:AAAA:");
    let digest = HeaderValue::from_static("sha-256=:AAAA:");
    request.headers.insert(CONTENT_DIGEST, digest);
    let refused = policy(&[]).read(request.head(), None).unwrap_err();
    assert_eq!(refused, VerifyError::FieldMalformed);
    request.headers.remove(CONTENT_DIGEST);
    let refused = policy(&[]).read(request.head(), None).unwrap_err();
    assert_eq!(refused, VerifyError::FieldMissing);

    let found = read("a=(\"date\")", "a=:AAAA:").unwrap();
    assert_eq!(found.digests, None);
}

#[test]
fn debug_output_contains_no_data_of_the_sender() {
    let case = &cases()[0];
    let request = Request::signed(case.input, case.signature);
    let found = policy(&[]).read(request.head(), None).unwrap();
    assert_eq!(format!("{found:?}"), "MessageSignature(256 bytes)");
    let draft = Draft::new("a", &[], case.metadata, request.head(), None).unwrap();
    assert_eq!(format!("{draft:?}"), "Draft(a)");
}

#[test]
fn a_draft_of_unwritable_values_is_refused() {
    let request = Request::of_the_rfc();
    let draft = |label: &str, names: &[&str], metadata: Metadata<'_>| {
        let components = components(names);
        let draft = Draft::new(label, &components, metadata, request.head(), None);
        draft.map(drop)
    };
    let none = Metadata::default();
    assert_eq!(draft("sig_1.a-*", &["date"], none), Ok(()));
    for label in ["", "1", "A", "a b", "a=", "é"] {
        let found = draft(label, &["date"], none);
        assert_eq!(found, Err(DraftError::Unwritable), "{label}");
    }
    for text in ["é", "\n", "\u{7f}"] {
        let metadata = Metadata {
            nonce: Some(text),
            ..none
        };
        let found = draft("a", &["date"], metadata);
        assert_eq!(found, Err(DraftError::Unwritable), "{text:?}");
    }
    let metadata = Metadata {
        created: Some(UnixTime::from_millis(i64::MAX)),
        expires: Some(UnixTime::from_millis(i64::MIN)),
        ..none
    };
    assert_eq!(draft("a", &["date"], metadata), Err(DraftError::Unwritable));
    for (names, expected) in [
        (&["x-absent"][..], VerifyError::FieldMissing),
        (&["@target-uri"], VerifyError::FieldMissing),
        (&["date", "date"], VerifyError::SignatureMalformed),
    ] {
        let found = draft("a", names, none);
        assert_eq!(found, Err(DraftError::Component(expected)), "{names:?}");
    }
}
