//! The right secret in another encoding, and damaged public keys.

use super::*;

#[test]
fn every_other_reading_of_the_right_secret_is_found() {
    const READINGS: [(&str, Mistake); 9] = [
        ("base64 of it", |s| Some(STANDARD.encode(s))),
        ("base64 of it and a line feed", |s| {
            Some(STANDARD.encode(format!("{s}\n")))
        }),
        ("base64 twice", |s| {
            Some(STANDARD.encode(STANDARD.encode(s)))
        }),
        ("base64 with a line feed behind", |s| {
            Some(format!("{}\n", STANDARD.encode(s)))
        }),
        ("hexadecimal digits of it", |s| Some(hex::encode(s))),
        ("prefix added", |s| {
            (!s.starts_with("whsec_")).then(|| format!("whsec_{s}"))
        }),
        ("prefix dropped", |s| {
            let rest = s
                .strip_prefix("whsec_")
                .or_else(|| s.strip_prefix("shpss_"));
            // Without the prefix, base64 still decodes to the same key.
            rest.filter(|rest| !rest.ends_with('=')).map(str::to_owned)
        }),
        ("hexadecimal digits of the key", |s| {
            let key = STANDARD.decode(s.strip_prefix("whsec_")?).ok()?;
            s.ends_with('=').then(|| hex::encode(key))
        }),
        ("decoded", |s| {
            let key = STANDARD.decode(s.strip_prefix("whsec_")?).ok()?;
            String::from_utf8(key).ok()
        }),
    ];
    let mut missed = Vec::new();
    for provider in SHARED {
        for (name, reading) in READINGS {
            let sample = Sample::of(provider);
            let Some(text) = reading(&sample.secret()) else {
                continue;
            };
            let code = proved(&sample.with_secret(text), Effort::Full);
            if code != Some(Code::SecretDecoding) {
                missed.push(format!("{name} at {provider}: {code:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_damaged_public_key_is_restored() {
    let [signing, public] = [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ];
    let der = format!("302a300506032b6570032100{public}");
    let pem_of = |der: &str| {
        let payload = STANDARD.encode(hex::decode(der).unwrap());
        format!("-----BEGIN PUBLIC KEY-----\n{payload}\n-----END PUBLIC KEY-----\n")
    };
    let pem = pem_of(&der);
    let scheme = Scheme::from_toml(
        "alg = 'ed25519'\nkey = { enc = 'pem' }\nmsg = '{body}'\n\
         sig = { in = 'header:x-signature', enc = 'hex' }",
    );
    let private = format!("302e020100300506032b657004220420{signing}");
    let private = pem_of(&private).replace("PUBLIC", "PRIVATE");
    let sample = Sample::signed(scheme.unwrap(), None, &private, &pem);
    assert!(sample.verifies());
    let mut missed = Vec::new();
    for (name, text, code) in [
        (
            "written line feeds",
            pem.replace('\n', "\\n"),
            Code::SecretCopiedBadly,
        ),
        ("blanks", pem.replace('\n', " "), Code::SecretCopiedBadly),
        ("one line", pem.replace('\n', ""), Code::SecretCopiedBadly),
        (
            "payload alone",
            pem.lines().nth(1).unwrap().to_owned(),
            Code::SecretCopiedBadly,
        ),
        ("quotes", format!("\"{pem}\""), Code::SecretCopiedBadly),
        ("base64 of PEM", STANDARD.encode(&pem), Code::SecretDecoding),
        (
            "DER in hexadecimal digits",
            der.clone(),
            Code::SecretDecoding,
        ),
        ("the bare key", public.to_owned(), Code::SecretDecoding),
    ] {
        let broken = sample.clone().with_secret(text);
        let found = proved(&broken, Effort::Full);
        if broken.verifies() || found != Some(code) {
            missed.push(format!("{name}: {found:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
    let hex = Sample::of("discord-interactions");
    let key = hex::decode(public).unwrap();
    for text in [pem, STANDARD.encode(key)] {
        let broken = hex.clone().with_secret(text);
        let code = proved(&broken, Effort::Full);
        assert_eq!(code, Some(Code::SecretDecoding));
    }
}
