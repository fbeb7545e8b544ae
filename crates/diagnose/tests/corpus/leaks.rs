//! The search for secrets and expected signatures in what a diagnosis says.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hookgate_core::{Provider, Secret, Signer};
use hookgate_diagnose::identify;
use http::Request;

use crate::case::{self, Case};
use crate::score::Outcome;

static GENUINE: LazyLock<Vec<Case>> = LazyLock::new(case::genuine);
static EXAMPLES: LazyLock<Vec<Case>> = LazyLock::new(case::examples);

/// Beginnings of secrets that are no secret.
const PREFIXES: [&str; 12] = [
    "whsec_beat_",
    "whsec_",
    "shpss_",
    "shpat_",
    "lin_wh_",
    "lin_api_",
    "pdl_ntfset_",
    "sk_live_",
    "pk_live_",
    "rk_test_",
    "rzp_live_",
    "github_pat_",
];
/// The length of the shortest part of a secret that counts as a leak.
const PART: usize = 8;
/// The length of the shortest MAC. A shorter value is an id or a time.
const SHORTEST_MAC: usize = 20;

/// Panics if the diagnosis, or the names of the schemes that fit, contain a secret or a MAC.
pub(crate) fn check(outcome: &Outcome) {
    let case = &outcome.case;
    let arrived = Some(case.arrived());
    let capture = case.capture(arrived);
    let setup = case.setup();
    let matches = identify(
        &capture,
        &case.secrets(),
        case.url.as_deref(),
        &case.params(),
    );
    let shown = format!("{:?}\n{matches:?}\n{setup:?}", outcome.diagnosis);
    let leak = find(&shown, &forbidden(case));
    assert_eq!(leak, None, "{}: {shown}", case.name);
}

/// Panics if the check misses a secret or a MAC.
pub(crate) fn check_finds_each_kind() {
    let case = &GENUINE[0];
    let forbidden = forbidden(case);
    let (_, mac) = case.headers.last().expect("the delivery is signed");
    let mac = hex::decode(mac.trim_start_matches("sha256=")).expect("the MAC is hex");
    for leak in [
        case.secret.clone(),
        case.secret[case.secret.len() - PART..].to_owned(),
        STANDARD.encode(&case.secret),
        hex::encode(&case.secret),
        hex::encode(&mac),
        STANDARD.encode(&mac),
        URL_SAFE.encode(&mac),
    ] {
        let shown = format!("it says {leak}");
        assert!(find(&shown, &forbidden).is_some(), "{leak}");
    }
    assert_eq!(find("the signature does not match", &forbidden), None);
}

fn find(shown: &str, forbidden: &[String]) -> Option<String> {
    let lower = shown.to_lowercase();
    let is_in = |text: &&String| shown.contains(text.as_str()) || lower.contains(text.as_str());
    forbidden.iter().find(is_in).cloned()
}

/// Returns the texts that no output may contain.
fn forbidden(case: &Case) -> Vec<String> {
    let right = right_secrets(case);
    let configured = std::iter::once(&case.secret).chain(&case.more_secrets);
    let configured = configured.filter(|_| !is_placeholder(case));
    let mut texts = Vec::new();
    for secret in configured.chain(&right) {
        texts.extend(forms_of_secret(secret));
    }
    for secret in &right {
        for mac in expected_macs(case, secret) {
            texts.extend(forms(&mac));
        }
    }
    texts
}

/// Returns the secrets with which deliveries of the provider are signed. The examples have some
/// wrong ones among them, which no output may contain either.
fn right_secrets(case: &Case) -> Vec<String> {
    let all = GENUINE.iter().chain(EXAMPLES.iter());
    let of_provider = all.filter(|other| other.provider == case.provider && !is_placeholder(other));
    let secrets =
        of_provider.flat_map(|other| std::iter::once(&other.secret).chain(&other.more_secrets));
    let mut secrets: Vec<String> = secrets.cloned().collect();
    secrets.sort();
    secrets.dedup();
    secrets
}

fn is_placeholder(case: &Case) -> bool {
    case.accept.iter().any(|code| code == "secret_placeholder")
}

/// Returns the parts of a secret, and its encodings.
fn forms_of_secret(secret: &str) -> Vec<String> {
    let core = secret.trim_matches(|c: char| !c.is_alphanumeric());
    let prefix = PREFIXES.iter().find(|prefix| core.starts_with(**prefix));
    let core = &core[prefix.map_or(0, |prefix| prefix.len())..];
    let chars: Vec<char> = core.chars().collect();
    // Small letters and hyphens may be words of a message.
    let is_random = |part: &&[char]| part.iter().any(|c| !c.is_ascii_lowercase() && *c != '-');
    let parts = chars.windows(PART).filter(is_random);
    let mut texts: Vec<String> = parts.map(|part| part.iter().collect()).collect();
    texts.extend(
        forms(secret.as_bytes())
            .into_iter()
            .filter(|text| text.len() > PART),
    );
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        if let Ok(key) = engine.decode(core)
            && key.len() >= PART
        {
            texts.extend(forms(&key));
        }
    }
    texts
}

/// Returns the encodings of `bytes`.
fn forms(bytes: &[u8]) -> Vec<String> {
    vec![
        hex::encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
    ]
}

/// Returns the MACs that the provider would send for the captured body.
fn expected_macs(case: &Case, secret: &str) -> Vec<Vec<u8>> {
    let scheme = Provider::named(&case.provider)
        .expect("the catalogue has it")
        .scheme()
        .clone();
    let Ok(secret) = Secret::new(secret) else {
        return Vec::new();
    };
    let mut builder = Signer::builder(&scheme, &secret);
    if let Some(url) = &case.url {
        builder = builder.url(url.clone());
    }
    for (name, value) in case.params() {
        builder = builder.param(name, value);
    }
    // A public key signs nothing, and a body may lack a field that the scheme signs.
    let Ok(signer) = builder.build() else {
        return Vec::new();
    };
    let request = Request::builder()
        .method(&*case.method)
        .uri("/")
        .body(case.body());
    let request = request.expect("the request is valid");
    let id = case
        .headers
        .iter()
        .find(|(name, _)| name.to_lowercase().ends_with("-id"));
    let id = id.map(|(_, value)| value.as_str());
    let mut macs = Vec::new();
    for at in [case.arrived(), GENUINE[0].arrived(), EXAMPLES[0].arrived()] {
        let Ok(signed) = signer.sign_request(request.clone(), at, id) else {
            continue;
        };
        for value in signed
            .headers()
            .values()
            .filter_map(|value| value.to_str().ok())
        {
            macs.extend(value.split([',', ';', ' ', '=']).filter_map(decoded));
        }
    }
    macs
}

/// Returns the bytes of a part of a header that is long enough to be a MAC.
fn decoded(part: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(part)
        .or_else(|_| STANDARD_NO_PAD.decode(part))
        .ok()?;
    (bytes.len() >= SHORTEST_MAC).then_some(bytes)
}
