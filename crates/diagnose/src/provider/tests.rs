use super::*;
use crate::attempt::Effort;
use crate::cause::{Cause, Code};
use crate::setup::SecretText;
use crate::sign::Strength;
use crate::signed_delivery::{SignedDelivery, Signing};

/// A secret that is base64 behind a prefix.
const WHSEC: &str = "whsec_YSBrZXkgb2YgMzIgYnl0ZXMgZm9yIHRoZSB0ZXN0cyE=";

/// Returns the providers that `identify` finds, with their variants. A question mark follows
/// those without proof.
fn identified(delivery: &SignedDelivery) -> Vec<String> {
    let setup = &delivery.setup;
    let url = setup.url.as_deref();
    let found = identify(&delivery.capture, &setup.secrets, url, &[]);
    let text = |found: &Match| {
        let variant = found.variant.as_ref().map(|name| format!("/{name}"));
        let mark = if found.proved { "" } else { "?" };
        format!(
            "{}{}{mark}",
            found.provider.name(),
            variant.unwrap_or_default()
        )
    };
    found.iter().map(text).collect()
}

/// Signs a delivery with a secret in base64.
fn standard(provider: &str, body: &'static str) -> SignedDelivery {
    let signing = Signing {
        provider,
        secret: WHSEC,
        body,
        ..Signing::by("standard-webhooks")
    };
    signing.sign()
}

fn with_variant(provider: &str, variant: &str) -> SignedDelivery {
    let signing = Signing {
        variant: Some(variant),
        ..Signing::by(provider)
    };
    signing.sign()
}

/// Returns the cause that another scheme or variant proves.
fn proved(delivery: &SignedDelivery) -> Option<Cause> {
    let (edit, _) = delivery.proved(each, Effort::Full);
    edit.map(|edit| edit.cause)
}

#[test]
fn another_reading_of_the_secret_is_a_proof() {
    let signing = Signing {
        secret: "0123456789abcdef",
        ..Signing::by("stripe")
    };
    let mut delivery = signing.sign();
    let mut found = |secret: &str| {
        delivery.setup.secrets = vec![SecretText::new(secret)];
        let found = identify(&delivery.capture, &delivery.setup.secrets, None, &[]);
        let first = found.first().expect("a provider fits");
        (first.provider.name().to_owned(), first.key, first.proved)
    };
    let decoded = r#"{ strip = "whsec_", enc = "base64" }"#;
    for (secret, key, proved) in [
        ("0123456789abcdef", None, true),
        ("whsec_MDEyMzQ1Njc4OWFiY2RlZg==", Some(decoded), true),
        // The control: another secret.
        ("whsec_MDEyMzQ1Njc4OWFiY2RlZw==", None, false),
    ] {
        assert_eq!(found(secret), ("stripe".to_owned(), key, proved));
    }
}

#[test]
fn of_equal_schemes_the_one_that_the_delivery_names_is_first() {
    let plain = standard("standard-webhooks", r#"{"type":"a"}"#);
    assert_eq!(identified(&plain)[..2], ["standard-webhooks", "openai"]);
    for (delivery, headers, first) in [
        (
            standard("polar", "{}"),
            &[("user-agent", "polar.sh webhooks")][..],
            "polar",
        ),
        (
            standard("gitlab", "{}"),
            &[("x-gitlab-event", "Push Hook")],
            "gitlab/signed",
        ),
        // The platform that runs the receiver adds such a header.
        (
            standard("render", "{}"),
            &[("render-proxy-ttl", "4")],
            "standard-webhooks",
        ),
        (standard("svix", "{}"), &[], "svix/svix"),
        (
            standard("resend", r#"{"type":"email.sent"}"#),
            &[],
            "resend/svix",
        ),
        (
            standard("clerk", r#"{"object":"event"}"#),
            &[],
            "clerk/svix",
        ),
        (Signing::by("github").sign(), &[], "github"),
        (
            Signing {
                body: r#"{"object":"whatsapp_business_account"}"#,
                ..Signing::by("whatsapp")
            }
            .sign(),
            &[],
            "whatsapp",
        ),
        (
            Signing::by("clickup").sign(),
            &[("user-agent", "ClickUp/1.0")],
            "clickup",
        ),
        (
            Signing::by("bitbucket").sign(),
            &[("x-request-uuid", "u-1")],
            "bitbucket",
        ),
    ] {
        let delivery = delivery.with_headers(headers);
        assert_eq!(identified(&delivery)[0], first, "{headers:?}");
    }
}

#[test]
fn the_variant_that_verifies_is_named() {
    for (delivery, expected) in [
        (with_variant("hubspot", "v3"), "hubspot/v3"),
        (with_variant("hubspot", "v2"), "hubspot/v2"),
        (with_variant("hubspot", "v1"), "hubspot/v1"),
        (with_variant("gitlab", "token"), "gitlab/token"),
        (Signing::by("square").sign(), "square"),
        (Signing::by("livekit").sign(), "livekit"),
    ] {
        assert_eq!(identified(&delivery), [expected]);
    }
}

#[test]
fn the_weaker_of_two_signatures_is_not_named() {
    let weak = Signing::by("github-sha1").sign();
    assert_eq!(identified(&weak), ["github-sha1", "intercom"]);
    let both = weak.with_headers(&[("x-hub-signature-256", "sha256=00")]);
    assert_eq!(identified(&both), ["github?", "meta?", "whatsapp?"]);
    let weak = with_variant("hubspot", "v1");
    let both = weak.with_headers(&[("x-hubspot-signature-v3", "AAAA")]);
    assert_eq!(identified(&both), ["hubspot/v3?"]);
}

#[test]
fn a_signature_header_names_a_provider_without_proof() {
    for (headers, expected) in [
        (&[("stripe-signature", "t=1,v1=00")][..], &["stripe?"][..]),
        (&[("x-slack-signature", "v0=00")], &["slack?"]),
        (&[("x-gitlab-token", "t0ken")], &["gitlab/token?"]),
        (&[("authorization", "Bearer t0ken")], &[]),
        (&[("content-type", "application/json")], &[]),
    ] {
        let mut delivery = Signing::by("github").sign();
        delivery.capture.headers.clear();
        let delivery = delivery.with_headers(headers);
        assert_eq!(identified(&delivery), expected, "{headers:?}");
    }
}

#[test]
fn a_url_that_is_not_configured_is_read_from_the_request() {
    let delivery = Signing::by("square").sign().with_url(None);
    assert_eq!(identified(&delivery), ["square?"]);
    let delivery = delivery.with_target("/x");
    let delivery = delivery.with_headers(&[("host", "hooks.example.com")]);
    assert_eq!(identified(&delivery), ["square"]);
}

#[test]
fn the_scheme_that_has_signed_is_found() {
    for (delivery, configured, expected) in [
        (
            standard("standard-webhooks", "{}"),
            "stripe",
            Some((
                Code::OtherProvider,
                "the delivery is signed by the scheme of Standard Webhooks, but the scheme of \
                 Stripe is configured",
                "configure `provider = \"standard-webhooks\"`",
            )),
        ),
        (
            Signing::by("stripe").sign(),
            "standard-webhooks",
            Some((
                Code::OtherProvider,
                "the delivery is signed by the scheme of Stripe, but the scheme of Standard \
                 Webhooks is configured",
                "configure `provider = \"stripe\"`",
            )),
        ),
        (
            Signing::by("github-sha1").sign(),
            "github",
            Some((
                Code::OtherVariant,
                "the delivery is signed by the scheme of GitHub, SHA-1, but the scheme of GitHub is \
                 configured",
                "configure `provider = \"github-sha1\"`, or make the sender use the configured \
                 version",
            )),
        ),
        (
            with_variant("hubspot", "v2"),
            "hubspot",
            Some((
                Code::OtherVariant,
                "HubSpot has signed the delivery with the variant `v2`, which is used only if the \
                 configuration chooses it",
                "configure `variant = \"v2\"`",
            )),
        ),
        (
            with_variant("hubspot", "v1"),
            "stripe",
            Some((
                Code::OtherProvider,
                "the delivery is signed by the scheme of HubSpot, but the scheme of Stripe is \
                 configured",
                "configure `provider = \"hubspot\"` and `variant = \"v1\"`",
            )),
        ),
        (Signing::by("lemon-squeezy").sign(), "clickup", None),
    ] {
        let mut delivery = delivery.with_provider(configured);
        let found = proved(&delivery);
        let found = found
            .as_ref()
            .map(|cause| (cause.code, &*cause.summary, &*cause.fix));
        assert_eq!(found, expected, "{configured}");
        // The control: with another secret, no scheme verifies.
        delivery.setup.secrets = vec![SecretText::new("another secret")];
        assert_eq!(proved(&delivery), None, "{configured}");
    }
}

#[test]
fn inputs_that_only_the_other_scheme_needs_are_filled_in() {
    for (signed, headers) in [
        ("meta", &[][..]),
        ("square", &[("host", "hooks.example.com")]),
    ] {
        let delivery = Signing::by(signed).sign().with_target("/x");
        let delivery = delivery.with_provider("stripe").with_url(None);
        let delivery = delivery.with_headers(headers);
        let cause = proved(&delivery).unwrap_or_else(|| panic!("{signed}"));
        assert_eq!(cause.code, Code::OtherProvider, "{signed}");
    }
}

#[test]
fn another_variant_than_the_chosen_one_is_found() {
    for (signed, chosen) in [("v3", "v1"), ("v2", "v1"), ("v1", "v3")] {
        let mut delivery = with_variant("hubspot", signed);
        delivery.setup.variant = Some(chosen.to_owned());
        let cause = proved(&delivery).unwrap();
        assert_eq!(
            cause.summary,
            format!(
                "HubSpot has signed the delivery with the variant `{signed}`, but the variant \
                 `{chosen}` is configured"
            )
        );
    }
}

#[test]
fn the_weaker_of_two_signatures_is_not_advised() {
    let weak = Signing::by("github-sha1").sign().with_provider("github");
    assert!(proved(&weak).is_some());
    let both = weak.with_headers(&[("x-hub-signature-256", "sha256=00")]);
    assert_eq!(proved(&both), None);
    assert!(signs(both.case()).is_empty());
    let weak = with_variant("hubspot", "v1");
    assert!(proved(&weak).is_some());
    let both = weak.with_headers(&[("x-hubspot-signature-v3", "AAAA")]);
    assert_eq!(proved(&both), None);
    assert!(signs(both.case()).is_empty());
}

#[test]
fn a_match_that_another_reading_of_the_secret_explains_costs_more() {
    for (headers, cost) in [(&[][..], 6), (&[("user-agent", "polar.sh webhooks")], 4)] {
        let delivery = Signing::by("polar")
            .sign()
            .with_provider("standard-webhooks");
        let (edit, _) = delivery.with_headers(headers).proved(each, Effort::Full);
        assert_eq!(edit.map(|edit| edit.cost), Some(cost), "{headers:?}");
    }
}

#[test]
fn few_schemes_are_tried_together_with_other_changes() {
    let delivery = standard("svix", "{}").with_provider("stripe");
    let (_, full) = delivery.proved(each, Effort::Full);
    let (_, common) = delivery.proved(each, Effort::Common);
    assert!(common <= 2 && common <= full, "{common} of {full}");
}

#[test]
fn a_foreign_signature_header_is_a_sign() {
    for (configured, headers, expected) in [
        (
            "github",
            &[("stripe-signature", "t=1,v1=00")][..],
            Some((
                Code::OtherProvider,
                Strength::Certain,
                "provider = \"stripe\"",
            )),
        ),
        (
            "stripe",
            &[("webhook-signature", "v1,AAAA")],
            Some((
                Code::OtherProvider,
                Strength::Strong,
                "provider = \"standard-webhooks\"",
            )),
        ),
        (
            "github",
            &[("x-hub-signature", "sha1=00")],
            Some((
                Code::OtherVariant,
                Strength::Certain,
                "provider = \"github-sha1\"",
            )),
        ),
        (
            "github",
            &[("x-hub-signature", "sha256=00"), ("x-request-uuid", "u-1")],
            Some((
                Code::OtherProvider,
                Strength::Certain,
                "provider = \"bitbucket\"",
            )),
        ),
        (
            "hubspot",
            &[
                ("x-hubspot-signature", "00"),
                ("x-hubspot-signature-version", "v2"),
            ],
            Some((Code::OtherVariant, Strength::Certain, "variant = \"v2\"")),
        ),
        ("github", &[("x-hub-signature-256", "sha256=00")], None),
        ("github", &[("authorization", "Bearer t0ken")], None),
        (
            "svix",
            &[
                ("svix-signature", "v1,AAAA"),
                ("webhook-signature", "v1,AAAA"),
            ],
            None,
        ),
        ("github", &[], None),
    ] {
        let mut delivery = Signing::by("github").sign().with_provider(configured);
        delivery.capture.headers.clear();
        let delivery = delivery.with_headers(headers);
        let found = signs(delivery.case());
        let found = found
            .first()
            .map(|sign| (sign.cause.code, sign.strength, &*sign.cause.fix));
        match (found, expected) {
            (Some((code, strength, fix)), Some(expected)) => {
                assert_eq!((code, strength), (expected.0, expected.1), "{headers:?}");
                assert!(fix.contains(expected.2), "{fix}");
            }
            (found, expected) => assert_eq!(found, expected, "{headers:?}"),
        }
    }
}
