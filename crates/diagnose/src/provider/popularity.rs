//! The providers whose deliveries are most common.

/// The common providers, the most common one first. A scheme that many providers have adopted
/// precedes them.
///
/// The order is an estimate from the downloads of the providers' libraries on npm and PyPI in
/// November 2026. It decides only between providers that fit a delivery equally well.
const COMMON: [&str; 44] = [
    "standard-webhooks",
    "svix",
    "github",
    "stripe",
    "shopify",
    "slack",
    "twilio",
    "meta",
    "whatsapp",
    "clerk",
    "resend",
    "openai",
    "polar",
    "gitlab",
    "paypal",
    "discord",
    "sendgrid",
    "hubspot",
    "square",
    "mailgun",
    "supabase",
    "zoom",
    "linear",
    "notion",
    "sentry",
    "github-sha1",
    "bitbucket",
    "jira",
    "intercom",
    "paddle",
    "lemon-squeezy",
    "razorpay",
    "paystack",
    "woocommerce",
    "adyen",
    "typeform",
    "calendly",
    "line",
    "messenger",
    "instagram",
    "mercado-pago",
    "modern-treasury",
    "gitea",
    "vonage",
];

/// Returns the place of a provider among the common ones. All others share the last place.
pub(super) fn place(name: &str) -> usize {
    let place = COMMON.iter().position(|common| *common == name);
    place.unwrap_or(COMMON.len())
}

#[cfg(test)]
mod tests {
    use hookgate_core::Provider;

    use super::*;

    #[test]
    fn every_common_provider_is_in_the_catalogue_and_listed_once() {
        for (index, name) in COMMON.iter().enumerate() {
            assert!(Provider::named(name).is_ok(), "{name}");
            assert_eq!(place(name), index);
        }
        assert_eq!(place("no-such-provider"), COMMON.len());
    }
}
