//! Every kind of mistake with a secret, at several providers.

use std::ops::ControlFlow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_core::Scheme;

use super::{each, signs};
use crate::attempt::{Edit, Effort};
use crate::cause::Code;
use crate::evidence::Strength;
use crate::sample::{Sample, cheapest_proof};
use crate::setup::SecretText;

/// The providers whose secret is a text for HMAC.
const SHARED: [&str; 7] = [
    "github",
    "stripe",
    "slack",
    "standard-webhooks",
    "shopify",
    "twilio",
    "zendesk",
];

fn edits(sample: &Sample, effort: Effort) -> Vec<Edit> {
    let mut all = Vec::new();
    let _: ControlFlow<()> = each(sample.case(), effort, &mut |edit| {
        all.push(edit);
        ControlFlow::Continue(())
    });
    all
}

/// Returns the code that the edits of `effort` prove.
fn proved(sample: &Sample, effort: Effort) -> Option<Code> {
    cheapest_proof(sample, &edits(sample, effort)).map(|cause| cause.code)
}

/// A mistake with a secret, for tables. `None` if it cannot happen to this secret.
type Mistake = fn(&str) -> Option<String>;

#[test]
fn every_mistake_of_copying_is_undone_at_every_provider() {
    const MISTAKES: [(&str, Mistake); 32] = [
        ("blank", |s| Some(format!("{s} "))),
        ("line feed", |s| Some(format!("{s}\n"))),
        ("CR LF", |s| Some(format!("{s}\r\n"))),
        ("tab in front", |s| Some(format!("\t{s}"))),
        ("quotes", |s| Some(format!("\"{s}\""))),
        ("apostrophes", |s| Some(format!("'{s}'"))),
        ("backticks", |s| Some(format!("`{s}`"))),
        ("typographic quotes", |s| {
            Some(format!("\u{201c}{s}\u{201d}"))
        }),
        ("one quote", |s| Some(format!("{s}\""))),
        ("angle brackets", |s| Some(format!("<{s}>"))),
        ("braces", |s| Some(format!("{{{{ {s} }}}}"))),
        ("parentheses", |s| Some(format!("({s})"))),
        ("line of a file", |s| Some(format!("HOOK_SECRET={s}"))),
        ("exported", |s| Some(format!("export HOOK_SECRET='{s}'\n"))),
        ("YAML", |s| Some(format!("secret: \"{s}\""))),
        ("JSON", |s| Some(format!("\"secret\": \"{s}\","))),
        ("comment", |s| Some(format!("{s} # the hook"))),
        ("all of it", |s| {
            Some(format!("\u{feff}export A_B=\"{s}\" # hook\r\n"))
        }),
        ("semicolon", |s| Some(format!("{s};"))),
        ("comma", |s| Some(format!("{s},"))),
        ("backslash", |s| Some(format!("{s}\\"))),
        ("written line feed", |s| Some(format!("{s}\\n"))),
        ("zero width", |s| {
            Some(format!("{}\u{200b}{}", &s[..4], &s[4..]))
        }),
        ("no-break space", |s| Some(format!("\u{a0}{s}"))),
        ("byte order mark", |s| Some(format!("\u{feff}{s}"))),
        ("percent-encoded", |s| {
            let encoded = s
                .replace('+', "%2B")
                .replace('=', "%3D")
                .replace('/', "%2F");
            (encoded != s).then_some(encoded)
        }),
        ("HTML-escaped", |s| {
            let escaped = s
                .replace('+', "&#43;")
                .replace('=', "&#x3D;")
                .replace('/', "&#x2F;");
            (escaped != s).then_some(escaped)
        }),
        ("blank for plus", |s| {
            s.contains('+').then(|| s.replace('+', " "))
        }),
        ("doubled", |s| Some(format!("{s}{s}"))),
        ("two lines", |s| Some(format!("{s}\nother-secret"))),
        ("fullwidth", |s| {
            let wide = |one: char| char::from_u32(u32::from(one) + 0xfee0).unwrap();
            Some(s.chars().map(wide).collect())
        }),
        ("Cyrillic", |s| {
            s.contains('a').then(|| s.replacen('a', "\u{430}", 1))
        }),
    ];
    let mut missed = Vec::new();
    for provider in SHARED {
        for (name, mistake) in MISTAKES {
            let sample = Sample::of(provider);
            let Some(text) = mistake(&sample.secret()) else {
                continue;
            };
            let code = proved(&sample.with_secret(text), Effort::Full);
            if code != Some(Code::SecretCopiedBadly) {
                missed.push(format!("{name} at {provider}: {code:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_secret_that_was_cut_or_mistyped_is_restored() {
    const MISTAKES: [(&str, Mistake); 9] = [
        ("last character lost", |s| Some(s[..s.len() - 1].to_owned())),
        ("first character lost", |s| Some(s[1..].to_owned())),
        ("last two lost", |s| Some(s[..s.len() - 2].to_owned())),
        ("character behind", |s| Some(format!("{s}x"))),
        ("character in front", |s| Some(format!("x{s}"))),
        ("character inside lost", |s| {
            Some(format!("{}{}", &s[..9], &s[10..]))
        }),
        ("character changed", |s| {
            Some(format!("{}~{}", &s[..9], &s[10..]))
        }),
        ("upper case", |s| {
            let is_lower = s.chars().all(|one| !one.is_ascii_uppercase());
            is_lower.then(|| s.to_uppercase())
        }),
        ("look-alikes", |s| {
            s.contains('0').then(|| s.replace('0', "O"))
        }),
    ];
    let mut missed = Vec::new();
    for provider in ["github", "stripe", "slack"] {
        for (name, mistake) in MISTAKES {
            let sample = Sample::of(provider);
            let Some(text) = mistake(&sample.secret()) else {
                continue;
            };
            let code = proved(&sample.with_secret(text), Effort::Full);
            if code != Some(Code::SecretCopiedBadly) {
                missed.push(format!("{name} at {provider}: {code:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

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

#[test]
fn a_further_secret_that_matches_is_named_by_its_number() {
    for provider in SHARED {
        let mut sample = Sample::of(provider);
        let right = sample.setup.secrets.remove(0);
        let other = SecretText::new(format!(
            "whsec_{}",
            STANDARD.encode("another-endpoint-secret")
        ));
        sample.setup.secrets = vec![other.clone(), other, right];
        let cause = cheapest_proof(&sample, &edits(&sample, Effort::Common)).unwrap();
        assert_eq!(cause.code, Code::SecretOther, "{provider}");
        assert_eq!(
            cause.summary,
            "the delivery is signed with the secret number 3, not with the first one"
        );
    }
}

#[test]
fn the_secret_of_another_endpoint_proves_nothing_and_has_no_sign() {
    for (provider, other) in [
        ("github", "gh-hook-0000111122223333"),
        ("stripe", "whsec_test1Zr7Kq2Mv8Xb4Wt1Vn8Lp0hJ2g"),
        ("slack", "0b1f0e9d8c7a6b5f4e3d2c1b0a998800"),
        (
            "standard-webhooks",
            "whsec_b3RoZXItc3RhbmRhcmQtd2ViaG9va3Mta2V5LTMyIQ==",
        ),
        ("shopify", "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"),
        ("twilio", "008a1c5e7b9d2046f8a1c5e7b9d20400"),
        (
            "discord-interactions",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
    ] {
        let sample = Sample::of(provider);
        assert!(sample.verifies(), "{provider}");
        let sample = sample.with_secret(other);
        assert_eq!(proved(&sample, Effort::Full), None, "{provider}");
        let signs: Vec<_> = signs(sample.case())
            .into_iter()
            .map(|sign| sign.cause.code)
            .collect();
        assert_eq!(signs, [], "{provider}");
    }
}

#[test]
fn a_text_that_is_no_signing_secret_has_a_sign() {
    use Code::{SecretCopiedBadly, SecretDecoding, SecretPlaceholder, SecretWrongKind};
    use Strength::{Certain, Likely, Strong};
    let mut missed = Vec::new();
    for (provider, text, code, strength) in [
        ("github", "", SecretPlaceholder, Certain),
        ("github", "${GITHUB_SECRET}", SecretPlaceholder, Certain),
        ("github", "<your secret>", SecretPlaceholder, Certain),
        ("github", "changeme", SecretPlaceholder, Strong),
        ("standard-webhooks", "undefined", SecretPlaceholder, Certain),
        (
            "stripe",
            "sk_live_51PqXn2LkdIwHu7ix8ZkQ1vLw",
            SecretWrongKind,
            Strong,
        ),
        (
            "stripe",
            "we_1PqXn2LkdIwHu7ix8ZkQ1vLw",
            SecretWrongKind,
            Strong,
        ),
        ("slack", "xoxb-2501234567-abcdefgh", SecretWrongKind, Strong),
        (
            "github",
            "ghp_0123456789abcdefABCDEF0123456789abcd",
            SecretWrongKind,
            Strong,
        ),
        (
            "shopify",
            "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",
            SecretWrongKind,
            Strong,
        ),
        (
            "github",
            "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",
            SecretWrongKind,
            Strong,
        ),
        (
            "twilio",
            "AC0123456789abcdef0123456789abcdef",
            SecretWrongKind,
            Strong,
        ),
        (
            "standard-webhooks",
            "ep_2Lk9ZrXb4Wt1Vn8AbCd",
            SecretWrongKind,
            Certain,
        ),
        ("github", "ops@example.com", SecretWrongKind, Strong),
        (
            "github",
            "https://api.example.com/hooks",
            SecretWrongKind,
            Strong,
        ),
        (
            "stripe",
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            SecretWrongKind,
            Strong,
        ),
        (
            "github",
            "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----",
            SecretWrongKind,
            Strong,
        ),
        (
            "discord-interactions",
            "whsec_b3RoZXItc3RhbmRhcmQ=",
            SecretWrongKind,
            Certain,
        ),
        (
            "standard-webhooks",
            "msg_2Lk9ZrXb4Wt1Vn8",
            SecretWrongKind,
            Certain,
        ),
        ("github", "invoice.paid", SecretWrongKind, Strong),
        (
            "stripe",
            "whsec_\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}",
            SecretCopiedBadly,
            Strong,
        ),
        ("stripe", "whsec_9aL2...", SecretCopiedBadly, Strong),
        (
            "slack",
            "4b1f0e9d8c7a6b5f4e3d2c1b",
            SecretCopiedBadly,
            Likely,
        ),
        ("github", "'other-hook-secret'", SecretCopiedBadly, Strong),
        (
            "standard-webhooks",
            "whsec_not_base64!",
            SecretDecoding,
            Certain,
        ),
        ("discord-interactions", "d75a98", SecretDecoding, Certain),
    ] {
        let sample = Sample::of(provider).with_secret(text);
        let signs = signs(sample.case());
        let first = signs
            .iter()
            .max_by_key(|sign| sign.strength)
            .unwrap_or_else(|| panic!("{text}"));
        // Of equally strong signs, the first one counts.
        let first = signs
            .iter()
            .find(|sign| sign.strength == first.strength)
            .unwrap();
        let found = (first.cause.code, first.strength);
        if found != (code, strength) {
            missed.push(format!("{text} at {provider}: {found:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn the_common_edits_are_few_and_are_among_all() {
    for provider in SHARED {
        let sample = Sample::of(provider);
        let text = format!("export A=\"{}\" # b\n", sample.secret());
        let sample = sample.with_secret(text);
        let common = edits(&sample, Effort::Common);
        assert!((1..=40).contains(&common.len()), "{}", common.len());
        assert_eq!(
            proved(&sample, Effort::Common),
            Some(Code::SecretCopiedBadly)
        );
    }
}

#[test]
fn no_text_contains_a_part_of_a_secret() {
    const CANARY: &str = "Xq7canaryZ9";
    for provider in ["github", "stripe", "standard-webhooks", "slack"] {
        for text in [
            format!("{CANARY}{CANARY}"),
            format!("whsec_{CANARY} # {CANARY}"),
            format!("{CANARY}={CANARY}"),
            format!("sk_live_{CANARY}"),
            format!("${{{CANARY}}}"),
            format!("https://{CANARY}.example"),
            format!("{CANARY}\u{2022}\u{2022}"),
            STANDARD.encode(CANARY),
        ] {
            let sample = Sample::of(provider).with_secret(text);
            let edits = edits(&sample, Effort::Full);
            let causes = edits.into_iter().map(|edit| edit.cause);
            let signs = signs(sample.case()).into_iter().map(|sign| sign.cause);
            for cause in causes.chain(signs) {
                let text = format!("{cause:?}").to_lowercase();
                assert!(!text.contains("canary"), "{text}");
            }
        }
    }
}
