//! Forgeries and replays that a careless scheme would let through.
//!
//! Each is refused when the scheme is read, or when the delivery arrives.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_core::{
    BuildError, Head, Provider, ReplayKey, ReplayScope, Scheme, Secret, UnixTime, Verified,
    Verifier, VerifyError,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const SECRET: &str = "a-secret-of-these-tests-0123456789";
const URL: &str = "https://h.example/in";

fn sign(message: impl AsRef<[u8]>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_ref());
    hex::encode(mac.finalize().into_bytes())
}

/// Reads a scheme with an HMAC in `x-sig`, to which `rest` adds keys.
fn read(rest: &str) -> Result<Scheme, String> {
    let head = "alg = \"hmac-sha256\"\nsig = { in = \"header:x-sig\", enc = \"hex\" }";
    Scheme::from_toml(&format!("{head}\n{rest}")).map_err(|problems| problems.to_string())
}

/// A verifier with the secret of these tests.
struct Receiver(Verifier);

impl Receiver {
    fn new(scheme: &Scheme) -> Self {
        Self::at(scheme, URL).unwrap()
    }

    fn at(scheme: &Scheme, url: &str) -> Result<Self, BuildError> {
        let builder = Verifier::builder(scheme).key(Secret::new(SECRET).unwrap());
        builder.url(url).build().map(Self)
    }

    fn of(provider: &str) -> Self {
        Self::new(Provider::named(provider).unwrap().scheme())
    }

    fn verify(
        &self,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Result<Verified, VerifyError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let (method, uri): (_, Uri) = (Method::POST, uri.parse().unwrap());
        let body = Bytes::copy_from_slice(body.as_ref());
        let checked = self.0.verify(Head::new(&method, &uri, &map), body, NOW)?;
        Ok(checked.delivery().unwrap())
    }
}

fn keys(verified: &Verified) -> Vec<ReplayKey> {
    verified.replay_keys(&ReplayScope::new(&["s"])).to_vec()
}

#[test]
fn a_scheme_whose_message_is_ambiguous_does_not_load() {
    let ts = "\nts = { in = \"header:t\", unit = \"s\" }";
    let either = "\nts = { in = \"header:t\", unit = \"s-or-ms\" }";
    for (rest, expected) in [
        // A header that one reader takes for absent and another for a part of the body.
        ("msg = \"[{header:n}.]{body}\"", "does not show whether"),
        ("msg = \"[n{header:n}.]{body}\"", "does not show whether"),
        (
            "msg = \"{body}[.{header:n}]\"",
            "after the value that may contain any character",
        ),
        (
            "msg = \"[{header:a};][{header:b};]{body|sha256:hex}\"",
            "does not show whether",
        ),
        // A body that may be dropped.
        ("msg = \"x[.{body}.{json:/x}]\"", "identifies no delivery"),
        (
            "msg = \"[{id};{header:n};]{body|sha256:hex}\"\nid = \"header:i\"",
            "identifies no delivery",
        ),
        (
            &format!("msg = \"{{ts}}{{body}}\"{either}"),
            "three digits of its neighbour",
        ),
        (
            &format!("msg = \"{{id}}{{ts}}{{body}}\"\nid = \"header:i\"{ts}"),
            "to divide the message",
        ),
        // Filters that map two bodies to one value.
        (
            "msg = \"{body|lower|sha256:hex}\"",
            "does not cover the body",
        ),
        (
            "msg = \"{body|sha256:hex|crc32}\"",
            "does not cover the body",
        ),
        ("msg = \"{form-sorted|lower}\"", "does not cover the body"),
        (
            "msg = \"{header:d}\"\nrequire = { \"header:d\" = \"{body|sha256:hex|crc32}\" }",
            "does not cover the body",
        ),
        (
            "msg = \"{header:d}\"\nrequire = { \"header:d\" = \"[x{body|sha256:hex}]\" }",
            "does not cover the body",
        ),
        (
            "msg = \"{id|lower}.{body}\"\nid = \"header:i\"",
            "with a filter",
        ),
        (
            "msg = \"{body}\"\nid = \"param:x\"",
            "a location in the delivery",
        ),
        // Two URLs that are equal when they are decoded.
        (
            "msg = \"{url}\"\nbinds_body = false\nurl = { decode = \"&\" }",
            "separate the fields",
        ),
    ] {
        let error = read(rest).err().unwrap_or_default();
        assert!(error.contains(expected), "{rest}: {error}");
    }
}

#[test]
fn a_header_may_be_optional_if_the_message_shows_its_absence() {
    let scheme = read("msg = \"{id}[;{header:n}].{body}\"\nid = \"header:i\"").unwrap();
    let receiver = Receiver::new(&scheme);
    let signature = sign(r#"evt_1.{"v":1.5}"#);
    let good = receiver.verify(
        "/",
        &[("x-sig", &signature), ("i", "evt_1")],
        r#"{"v":1.5}"#,
    );
    assert_eq!(good.unwrap().id(), Some("evt_1"));
    let with = sign(r#"evt_1;n.{"v":1.5}"#);
    let headers = [("x-sig", &*with), ("i", "evt_1"), ("n", "n")];
    assert!(receiver.verify("/", &headers, r#"{"v":1.5}"#).is_ok());
    for (id, rest, body) in [
        (r#"evt_1.{"v":1"#, None, "5}"),
        ("evt_1;n", None, r#"{"v":1.5}"#),
        ("evt_1", Some(r#"n.{"v":1"#), "5}"),
    ] {
        for signature in [&signature, &with] {
            let mut headers = vec![("x-sig", &**signature), ("i", id)];
            headers.extend(rest.map(|rest| ("n", rest)));
            assert!(receiver.verify("/", &headers, body).is_err(), "{id}");
        }
    }
}

#[test]
fn an_id_cannot_absorb_the_timestamp_after_it() {
    let receiver = Receiver::of("twitch");
    let at = "2026-07-16T07:40:00Z";
    let body = format!(r#"{{"at":"{at}","x":1}}"#);
    let signature = format!("sha256={}", sign(format!("id-1{at}{body}")));
    let verify = |id: &str, body: &str| {
        let headers = [
            ("twitch-eventsub-message-id", id),
            ("twitch-eventsub-message-timestamp", at),
            ("twitch-eventsub-message-signature", &signature),
        ];
        receiver.verify("/", &headers, body)
    };
    assert!(verify("id-1", &body).is_ok());
    let longer = format!(r#"id-1{at}{{"at":""#);
    assert!(verify(&longer, r#"","x":1}"#).is_err());
}

#[test]
fn a_path_cannot_absorb_a_part_of_the_body() {
    for template in ["{path}.{body}", "{path-query}{body}", "{path}{body}"] {
        let scheme = read(&format!("msg = \"{template}\"")).unwrap();
        let unset = Verifier::builder(&scheme).key(Secret::new(SECRET).unwrap());
        assert_eq!(unset.build().unwrap_err(), BuildError::UrlMissing);
        let receiver = Receiver::new(&scheme);
        let dot = if template.contains('.') { "." } else { "" };
        let signature = sign(format!("/in{dot}a.b"));
        let headers = [("x-sig", &*signature)];
        assert!(
            receiver.verify("/in", &headers, "a.b").is_ok(),
            "{template}"
        );
        for (target, body) in [("/in.a", "b"), ("/in?a", ".b"), ("/ina.", "b")] {
            assert!(
                receiver.verify(target, &headers, body).is_err(),
                "{template}"
            );
        }
    }
}

#[test]
fn a_toggled_port_cannot_absorb_a_part_of_the_body() {
    let scheme = read("msg = \"{url}{body}\"\nurl = { port = \"toggle\" }").unwrap();
    let bare = Receiver::at(&scheme, "https://h.example").err();
    assert_eq!(bare, Some(BuildError::UrlWithoutPath));
    let receiver = Receiver::at(&scheme, "https://h.example/").unwrap();
    let signature = sign("https://h.example:443/{}");
    let headers = [("x-sig", &*signature)];
    assert!(receiver.verify("/", &headers, "{}").is_ok());
    assert!(receiver.verify("/", &headers, ":443/{}").is_err());
}

#[test]
fn a_filtered_header_does_not_identify_an_event() {
    let scheme = read("msg = \"{header:i|lower}.{body}\"\nid = \"header:i\"").unwrap();
    assert!(!scheme.signs_id());
    let receiver = Receiver::new(&scheme);
    let signature = sign("evt_a.{}");
    let once = |id| receiver.verify("/", &[("x-sig", &signature), ("i", id)], "{}");
    assert_eq!(keys(&once("evt_a").unwrap()), keys(&once("evt_A").unwrap()));
}

#[test]
fn an_unsigned_form_field_does_not_identify_an_event() {
    let form = "alg = \"hmac-sha256\"\nsig = { in = \"form:sig\", enc = \"hex\" }\n\
                msg = \"{form:payload}\"";
    let dated = format!("{form}\nts = {{ in = \"form:t\", unit = \"s\" }}");
    let error = Scheme::from_toml(&dated).unwrap_err().to_string();
    assert!(error.contains("not part of `msg`"), "{error}");

    let scheme = Scheme::from_toml(&format!("{form}\nid = \"form:id\"")).unwrap();
    let receiver = Receiver::new(&scheme);
    let once = |id: &str| {
        let body = format!("payload=P&sig={}&id={id}", sign("P"));
        receiver.verify("/", &[], body).unwrap()
    };
    assert_eq!(keys(&once("1")), keys(&once("2")));
}

#[test]
fn a_field_of_a_sorted_form_does_not_identify_an_event() {
    let scheme = read("msg = \"{form-sorted}\"\nid = \"form:Sid\"").unwrap();
    let receiver = Receiver::new(&scheme);
    let signature = sign("Aid1SidSM1Zx");
    let once = |body: &str| {
        receiver
            .verify("/", &[("x-sig", &signature)], body)
            .unwrap()
    };
    let genuine = keys(&once("Aid=1&Sid=SM1&Z=x"));
    for other in [
        "Aid=1&Sid=SM1&Sid=SM1&Z=x",
        "Aid=1&Sid=SM1Zx",
        "Aid=1&Sid=S&SidM1=SM1",
    ] {
        if let Ok(verified) = receiver.verify("/", &[("x-sig", &signature)], other) {
            assert_eq!(keys(&verified), genuine, "{other}");
        }
    }
}

/// Sorting them would be the most expensive work that an unauthenticated sender can cause.
#[test]
fn a_form_with_too_many_fields_is_refused_without_sorting() {
    let receiver = Receiver::new(&read("msg = \"{url}{form-sorted}\"").unwrap());
    let verify = |fields: usize| {
        let names: Vec<String> = (0..fields).map(|n| format!("f{n:05}")).collect();
        let signature = sign(format!("{URL}{}", names.concat()));
        let headers = [("x-sig", &*signature)];
        receiver.verify("/in", &headers, names.join("&")).map(drop)
    };
    assert_eq!(verify(4096), Ok(()));
    assert_eq!(verify(4097), Err(VerifyError::FieldMalformed));
}

#[test]
fn a_member_with_an_unusable_value_does_not_count_as_absent() {
    let provider = Provider::named("adyen").unwrap();
    let scheme = provider.scheme();
    let key = Secret::new(hex::encode(SECRET)).unwrap();
    let receiver = Receiver(Verifier::builder(scheme).key(key).build().unwrap());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(b"P1::M:R:100:EUR:AUTHORISATION:true");
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let verify = |extra: &str| {
        receiver.verify(
            "/",
            &[],
            format!(
                r#"{{"notificationItems":[{{"NotificationRequestItem":{{
                "additionalData":{{"hmacSignature":"{signature}"}},"pspReference":"P1",{extra}
                "merchantAccountCode":"M","merchantReference":"R",
                "amount":{{"value":100,"currency":"EUR"}},
                "eventCode":"AUTHORISATION","success":"true"}}}}]}}"#
            ),
        )
    };
    for absent in [
        "",
        r#""originalReference":null,"#,
        r#""originalReference":"","#,
    ] {
        assert!(verify(absent).is_ok(), "{absent}");
    }
    for forged in [
        r#""originalReference":"F","originalReference":"F","#,
        r#""originalReference":1.5,"#,
        r#""originalReference":["F"],"#,
        r#""originalReference":{},"#,
    ] {
        assert!(verify(forged).is_err(), "{forged}");
    }
}

#[test]
fn a_batch_needs_a_signature_in_each_element() {
    let scheme = read("msg = \"{body}\"\neach = \"json:/items\"");
    assert!(scheme.unwrap_err().contains("a signature in each element"));
}

#[test]
fn all_groups_share_one_limit_of_candidates() {
    let receiver = Receiver::of("persona");
    let group = format!(
        "t=1784187600{}",
        format!(",v1={}", "0".repeat(64)).repeat(8)
    );
    let value = vec![group; 8].join(" ");
    let outcome = receiver.verify("/", &[("persona-signature", &value)], "{}");
    assert_eq!(outcome.unwrap_err(), VerifyError::SignatureTooMany);
}

#[test]
fn a_repeated_header_in_the_list_of_signed_headers_is_refused() {
    let receiver = Receiver::of("coinbase-cdp");
    let verify = |list: &str| {
        let signature = sign(format!("1784187600.{list}.{}.{{}}", list.replace('a', "x")));
        let value = format!("t=1784187600,h={list},v1={signature}");
        receiver.verify("/", &[("x-hook0-signature", &value), ("a", "x")], "{}")
    };
    assert!(verify("a").is_ok());
    let many = vec!["a"; 1000].join(" ");
    assert_eq!(verify(&many).unwrap_err(), VerifyError::FieldMalformed);
}

#[test]
fn an_event_with_two_signatures_does_not_pass_twice() {
    let provider = Provider::named("hubspot").unwrap();
    let scheme = provider.scheme();
    let receiver = Receiver::new(scheme);
    let (body, at) = (r#"[{"eventId":1}]"#, "1784187600000");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("POST{URL}{body}{at}").as_bytes());
    let v3 = STANDARD.encode(mac.finalize().into_bytes());
    let v1 = hex::encode(Sha256::digest(format!("{SECRET}{body}")));
    let old = [
        ("x-hubspot-signature", &*v1),
        ("x-hubspot-signature-version", "v1"),
    ];
    let new = [
        ("x-hubspot-signature-v3", &*v3),
        ("x-hubspot-request-timestamp", at),
    ];
    assert!(receiver.verify("/in", &[new, old].concat(), body).is_ok());
    let again = receiver.verify("/in", &old, body);
    assert_eq!(again.unwrap_err(), VerifyError::SignatureVersionUnknown);

    // The control: if the operator chooses the old variant, only that one is enabled.
    let chosen = Verifier::builder(scheme).key(Secret::new(SECRET).unwrap());
    let chosen = Receiver(chosen.url(URL).variant("v1").build().unwrap());
    assert!(chosen.verify("/in", &old, body).is_ok());
    assert!(chosen.verify("/in", &new, body).is_err());
}

#[test]
fn a_plain_digest_cannot_be_extended_to_a_longer_message() {
    let plain = "alg = \"sha256\"\nsig = { in = \"header:x-sig\", enc = \"hex\" }";
    for rest in [
        "msg = \"{body}\"",
        "msg = \"{body}.{header:n}\"\nbody = \"json\"",
        "msg = \"{header:n}\"\nbinds_body = false\nbody = \"json\"",
    ] {
        let error = Scheme::from_toml(&format!("{plain}\n{rest}")).unwrap_err();
        assert!(error.to_string().contains("append"), "{rest}: {error}");
    }
    let scheme = Scheme::from_toml(&format!("{plain}\nmsg = \"{{body}}\"\nbody = \"json\""));
    let receiver = Receiver::new(&scheme.unwrap());
    let verify = |body: &[u8]| {
        let signature = hex::encode(Sha256::digest([SECRET.as_bytes(), body].concat()));
        receiver.verify("/", &[("x-sig", &signature)], body)
    };
    let body = br#"[{"eventId":1}]"#;
    assert!(verify(body).is_ok());
    // Length extension: the body, the padding of SHA-256, and the forger's text.
    let length = SECRET.len() + body.len();
    let mut longer = body.to_vec();
    longer.push(0x80);
    while (SECRET.len() + longer.len()) % 64 != 56 {
        longer.push(0);
    }
    longer.extend((u64::try_from(length).unwrap() * 8).to_be_bytes());
    longer.extend(br#"[{"eventId":666}]"#);
    assert_eq!(verify(&longer).unwrap_err(), VerifyError::FieldMalformed);
}

#[test]
fn a_json_delivery_does_not_pass_as_a_form_delivery_nor_the_reverse() {
    fn sign(message: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
    let json = r#"{"a":1}"#;
    let digest = hex::encode(Sha256::digest(json));
    let provider = Provider::named("twilio").unwrap();
    let scheme = provider.scheme();
    for query in ["", "?tenant=1"] {
        let receiver = Receiver::at(scheme, &format!("{URL}{query}")).unwrap();
        let target = format!("/in{query}");
        let mark = if query.is_empty() { '?' } else { '&' };

        // A JSON delivery, presented as a form whose field name is the query.
        let signature = sign(&format!("{URL}{query}{mark}bodySHA256={digest}"));
        let headers = [("x-twilio-signature", &*signature)];
        let with_digest = format!("{target}{mark}bodySHA256={digest}");
        assert!(receiver.verify(&with_digest, &headers, json).is_ok());
        let escaped = if mark == '?' { "%3F" } else { "%26" };
        let form = format!("{escaped}bodySHA256%3D{digest}");
        assert!(receiver.verify(&target, &headers, form).is_err());

        // A form delivery, presented as JSON whose URL has the fields in its query.
        let text = format!("x&bodySHA256={digest}");
        let signature = sign(&format!("{URL}{query}Body{text}"));
        let headers = [("x-twilio-signature", &*signature)];
        let form = format!("Body=x%26bodySHA256%3D{digest}");
        assert!(receiver.verify(&target, &headers, form).is_ok());
        let forged = format!("{target}Body{text}");
        assert!(receiver.verify(&forged, &headers, json).is_err());
    }
}

#[test]
fn a_handshake_response_signs_no_delivery_and_sets_no_page_headers() {
    let handshake = |alg: &str, respond: &str| {
        Scheme::from_toml(&format!(
            "alg = \"{alg}\"\nsig = {{ in = \"header:x-sig\", enc = \"hex\" }}\n\
             msg = \"{{body}}\"\nbody = \"json\"\n[[handshake]]\nmethod = \"GET\"\n\
             when = {{ \"query:c\" = \"*\" }}\n\
             guard = {{ \"query:c\" = {{ chars = \"a-z\", max = 32 }} }}\nrespond = {respond}"
        ))
        .map_err(|problems| problems.to_string())
    };
    let signs = "{ type = \"text/plain\", body = \"{query:c|hmac:hex}\" }";
    assert!(handshake("hmac-sha256", signs).is_ok());
    assert!(handshake("sha256", signs).unwrap_err().contains("HMAC"));
    for header in ["content-type", "x-content-type-options", "set-cookie"] {
        let respond = format!("{{ headers = {{ \"{header}\" = \"{{query:c}}\" }} }}");
        let error = handshake("hmac-sha256", &respond).unwrap_err();
        assert!(error.contains("expected another header"), "{error}");
    }
}
