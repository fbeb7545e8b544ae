//! The page of the documentation that lists all providers, counted by the
//! program.

use std::fmt::Write;

use hookgate_core::{Provider, SchemeEvidence, SchemeFamily, UndocumentedProvider};
use humantime::format_duration;

use super::{all, dedupes_by};

pub(super) fn write() -> String {
    let mut page = String::new();
    // Writing to a text does not fail.
    let _: std::fmt::Result = write_page(&mut page);
    page
}

fn write_page(page: &mut String) -> std::fmt::Result {
    let providers: Vec<Provider> = all().collect();
    let documented = providers
        .iter()
        .filter(|provider| provider.evidence() == SchemeEvidence::Documented)
        .count();
    writeln!(
        page,
        "# Providers\n\n\
         <!-- Written by `hookgate providers --markdown`; a test compares. -->\n\n\
         {} providers: {documented} known from their own documentation, SDK or source, the others \
         from independent open-source catalogues that agree. Each is a file in \
         [`crates/core/providers`](../crates/core/providers); `hookgate providers NAME` shows one in \
         full. A partner of your own is a table in [the same \
         language](../crates/core/src/scheme/language.md).\n",
        providers.len(),
    )?;
    write_families(page, &providers)?;
    write_list(page, &providers)?;
    write_unpublished(page)?;
    page.push_str(REMAIN_OUT);
    Ok(())
}

/// How many providers there are of each shape. One that signs in several ways
/// counts for each.
fn write_families(page: &mut String, providers: &[Provider]) -> std::fmt::Result {
    writeln!(
        page,
        "## Shapes\n\n| what is signed | providers | among them |\n|---|---|---|"
    )?;
    for family in SchemeFamily::ALL {
        let names: Vec<&str> = providers
            .iter()
            .filter(|provider| provider.scheme().variants().any(|v| v.family() == family))
            .map(Provider::name)
            .collect();
        let some: Vec<String> = names
            .iter()
            .take(6)
            .map(|name| format!("`{name}`"))
            .collect();
        let some = match (family, some.is_empty()) {
            (SchemeFamily::MessageSignature, true) => {
                "none by default; `sig.in = \"http-message-signature\"` in a scheme of your own"
                    .to_owned()
            }
            _ => some.join(", "),
        };
        writeln!(page, "| {} | {} | {some} |", family.text(), names.len())?;
    }
    let handshakes = providers
        .iter()
        .filter(|provider| !provider.scheme().handshakes().is_empty());
    let names: Vec<String> = handshakes.map(|p| format!("`{}`", p.name())).collect();
    writeln!(
        page,
        "\n{} providers probe an endpoint before or between deliveries, and are answered: {}.\n",
        names.len(),
        names.join(", ")
    )
}

fn write_list(page: &mut String, providers: &[Provider]) -> std::fmt::Result {
    writeln!(
        page,
        "## All\n\n| name | provider | algorithm | signed | dedupes by | remembered | known from |\n\
         |---|---|---|---|---|---|---|"
    )?;
    for provider in providers {
        let variants: Vec<_> = provider.scheme().variants().collect();
        let each = |of: &dyn Fn(usize) -> String| {
            let mut texts: Vec<String> = (0..variants.len()).map(of).collect();
            texts.dedup();
            texts.join("<br>")
        };
        writeln!(
            page,
            "| `{}` | [{}]({}) | {} | {} | {} | {} | {} |",
            provider.name(),
            provider.title(),
            provider.docs(),
            each(&|index| variants[index].algorithm().to_owned()),
            each(&|index| format!("`{}`", variants[index].signed().replace('|', "\\|"))),
            dedupes_by(provider),
            format_duration(provider.retention()),
            provider.evidence(),
        )?;
    }
    Ok(())
}

fn write_unpublished(page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "\n## Known by name only\n\n\
         These sign, and do not say how. Without a table `[sources.scheme]` that spells it out, a \
         source of theirs does not start.\n"
    )?;
    for unpublished in UndocumentedProvider::names().filter_map(UndocumentedProvider::named) {
        writeln!(
            page,
            "* `{}`, [{}]({}): {}",
            unpublished.name(),
            unpublished.title(),
            unpublished.docs(),
            unpublished.notes()
        )?;
    }
    Ok(())
}

const REMAIN_OUT: &str = "
## What remains out, and why

* **Keys that are fetched by the id in a delivery**: Plaid, eBay, Circle, Kinde, FusionAuth, Wix,
  Gemini's dynamic mode, Fireblocks, Neon, fal.ai, ShipEngine, WeChat Pay. hookgate makes no
  requests of its own on a sender's word. PayPal and AWS SNS are in, with the certificate in a file
  of the operator.
* **Messages that are written anew before they are signed**, in a way that is no function of the
  bytes: Hygraph, Treezor, Paymid, Exact Online, Contentful (whose path is escaped again), Plivo V3,
  Jira Connect (`qsh`).
* **draft-cavage signatures** (Keygen), which RFC 9421 replaced.
* **Deliveries that nobody signs**: Strava, Salesforce outbound messages, classic Mollie, Supabase
  database webhooks, SNS raw delivery. Where the provider lets you choose a header or a password
  (Datadog, Mailchimp, Brevo), write a scheme with `alg = \"token\"`.
";
