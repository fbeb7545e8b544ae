//! Other credentials and ids in place of the signing secret, known by their form.

use crate::attempt::Case;
use crate::sign::Strength;

/// A form of text that is no signing secret.
struct Kind {
    prefixes: &'static [&'static str],
    /// The least number of characters behind the prefix.
    rest: usize,
    what: &'static str,
    /// Providers whose signing secret has this form.
    except: &'static [&'static str],
}

const fn kind(prefixes: &'static [&'static str], rest: usize, what: &'static str) -> Kind {
    Kind {
        prefixes,
        rest,
        what,
        except: &[],
    }
}

const KINDS: [Kind; 30] = [
    Kind {
        prefixes: &["sk_live_", "sk_test_", "rk_live_", "rk_test_"],
        rest: 8,
        what: "a secret API key",
        except: &["paystack"],
    },
    kind(&["pk_live_", "pk_test_"], 8, "a publishable API key"),
    kind(
        &["we_", "ep_", "wh_", "hook_"],
        8,
        "the id of a webhook endpoint",
    ),
    kind(&["acct_", "evt_", "msg_"], 8, "an id of the provider"),
    kind(
        &["xoxb-", "xoxp-", "xoxa-", "xoxe", "xoxs-", "xapp-"],
        8,
        "a Slack token",
    ),
    kind(
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        16,
        "a GitHub access token",
    ),
    kind(
        &["glpat-", "glptt-", "gldt-", "glrt-"],
        16,
        "a GitLab access token",
    ),
    kind(
        &["shpat_", "shpca_", "shppa_", "shptka_"],
        16,
        "a Shopify access token",
    ),
    Kind {
        prefixes: &["shpss_"],
        rest: 16,
        what: "the client secret of a Shopify app",
        except: &["shopify"],
    },
    kind(&["AKIA", "ASIA"], 16, "the id of an AWS access key"),
    kind(&["AIza"], 30, "a Google API key"),
    kind(&["ya29."], 16, "a Google access token"),
    kind(&["SG."], 20, "a SendGrid API key"),
    kind(&["key-"], 16, "a Mailgun API key"),
    kind(&["EAA"], 60, "an access token of Meta or Square"),
    kind(
        &["sq0atp-", "sq0idp-", "sq0csp-"],
        16,
        "a credential of a Square app",
    ),
    kind(&["npm_"], 30, "an npm access token"),
    kind(&["dop_v1_", "doo_v1_"], 16, "a DigitalOcean access token"),
    kind(
        &["pdl_apikey_", "pdl_live_apikey_", "pdl_sdbx_apikey_"],
        8,
        "a Paddle API key",
    ),
    kind(&["lin_api_", "lin_oauth_"], 8, "a Linear API key"),
    kind(
        &["rzp_live_", "rzp_test_"],
        8,
        "the id of a Razorpay API key",
    ),
    kind(&["sk-ant-", "sk-proj-", "sk-"], 20, "an API key"),
    kind(&["re_"], 20, "a Resend API key"),
    kind(&["pat-na1-", "pat-eu1-"], 16, "a HubSpot access token"),
    kind(&["ATATT3", "ATCTT3"], 20, "an Atlassian API token"),
    kind(&["sntrys_", "sntryu_"], 16, "a Sentry token"),
    kind(&["ntn_"], 20, "a Notion token"),
    kind(
        &["hf_", "r8_", "figd_", "xkeysib-", "NRAK-"],
        16,
        "an API token",
    ),
    kind(
        &["Bearer ", "Basic "],
        4,
        "the value of an authorization header",
    ),
    kind(&["eyJ"], 40, "a JSON Web Token"),
];

/// Providers whose signing secrets never have the form of a UUID.
const NO_UUID: [&str; 8] = [
    "stripe",
    "slack",
    "standard-webhooks",
    "svix",
    "twilio",
    "shopify",
    "paddle",
    "linear",
];

/// Returns the sign that `text` is another credential: its summary and its strength.
pub(super) fn sign(text: &str, case: Case<'_>) -> Option<(String, Strength)> {
    let text = text.trim();
    let provider = case.setup.provider.as_ref().map(|provider| provider.name());
    let known = KINDS.iter().find(|kind| {
        let mut prefixes = kind.prefixes.iter();
        prefixes.any(|prefix| {
            let rest = text.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.len() >= kind.rest)
        })
    });
    if let Some(kind) = known {
        let is_sound = provider.is_some_and(|provider| kind.except.contains(&provider));
        return (!is_sound).then(|| (named(kind.what), Strength::Strong));
    }
    let what = if is_twilio_id(text) {
        "the id of a Twilio account or API key"
    } else if text.starts_with("https://") || text.starts_with("http://") {
        "a URL"
    } else if text.contains("PRIVATE KEY-----") {
        "a private key"
    } else if text.contains("-----BEGIN") && !super::has_public_key(case) {
        "a public key or a certificate"
    } else if text.starts_with("whsec_") && super::has_public_key(case) {
        "a shared secret in place of a public key"
    } else if is_email(text) {
        "an e-mail address"
    } else if is_telegram_token(text) {
        "the token of a Telegram bot"
    } else if is_uuid(text) && provider.is_some_and(|name| NO_UUID.contains(&name)) {
        "a UUID, which is the form of an id"
    } else {
        return None;
    };
    Some((named(what), Strength::Strong))
}

fn named(what: &str) -> String {
    format!("the configured value is {what}, not the signing secret")
}

/// Returns the sign that `text` stands in the delivery itself.
pub(super) fn sign_of_delivery(text: &str, case: Case<'_>) -> Option<(String, Strength)> {
    const SHORTEST: usize = 8;
    let text = text.trim().as_bytes();
    if text.len() < SHORTEST {
        return None;
    }
    let finder = memchr::memmem::Finder::new(text);
    let capture = case.capture;
    let header = capture
        .headers
        .iter()
        .find(|(_, value)| finder.find(value.as_bytes()).is_some());
    let summary = match header {
        Some((name, _)) => format!(
            "the configured value is in the delivery itself, in the header `{name}`, so it is \
             not the signing secret"
        ),
        None if finder.find(&capture.body).is_some() => {
            "the configured value is in the body of the delivery itself, so it is not the signing \
             secret"
                .to_owned()
        }
        None => return None,
    };
    Some((summary, Strength::Strong))
}

fn is_twilio_id(text: &str) -> bool {
    let digits = text.strip_prefix("AC").or_else(|| text.strip_prefix("SK"));
    digits.is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|one| one.is_ascii_hexdigit())
    })
}

fn is_email(text: &str) -> bool {
    let Some((user, host)) = text.split_once('@') else {
        return false;
    };
    let is_part = |one: char| one.is_ascii_alphanumeric() || ".-_+".contains(one);
    !user.is_empty()
        && user.chars().all(is_part)
        && host.contains('.')
        && host
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || ".-".contains(one))
}

fn is_telegram_token(text: &str) -> bool {
    let Some((id, token)) = text.split_once(':') else {
        return false;
    };
    (8..=12).contains(&id.len()) && id.bytes().all(|one| one.is_ascii_digit()) && token.len() == 35
}

fn is_uuid(text: &str) -> bool {
    let lens = text.split('-').map(str::len);
    lens.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|one| one.is_ascii_hexdigit() || one == b'-')
}
