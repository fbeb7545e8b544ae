//! `hookgate providers`: the list, the pages, and one provider.

use super::{hookgate, text};

#[test]
fn providers_lists_the_catalogue_and_shows_each_provider() {
    let unknown = hookgate(
        &["sign", "--provider", "nobody", "--secret", "env:SECRET"],
        "x",
        b"",
    );
    assert!(
        text(&unknown).contains("`hookgate providers` lists the names"),
        "{}",
        text(&unknown)
    );

    let list = hookgate(&["providers", "--json"], "", b"");
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&list.stdout).expect("the text is JSON");
    let readme = include_str!("../../../../README.md");
    // The README does not count the provider without a documented scheme.
    assert!(
        readme.contains(&format!("{} providers", list.len() - 1)),
        "the README counts them"
    );
    let page = text(&hookgate(&["providers", "--markdown"], "", b""));
    let mut lines = page
        .lines()
        .zip(include_str!("../../../../docs/providers.md").lines());
    assert_eq!(
        lines.find(|(made, committed)| made != committed),
        None,
        "regenerate it: hookgate providers --markdown > docs/providers.md"
    );
    let lines = text(&hookgate(&["providers"], "", b""));
    assert_eq!(lines.lines().count(), list.len() + 1);

    let one = text(&hookgate(&["providers", "beel"], "", b""));
    for line in [
        "provider     BeeL",
        "algorithm    hmac-sha256",
        "signed       {ts}.{body}",
        "signature    header:beel-signature",
        "window       at most 5 min old, at most 5 min ahead",
        "duplicates   found by event id",
        "retention    7 days",
        "timeout      10 s",
    ] {
        assert!(one.contains(line), "{line}\n{one}");
    }
}

#[test]
fn providers_shows_the_rule_for_equal_bytes_and_the_expected_responses() {
    for (provider, line) in [
        (
            "adyen",
            "responses    a duplicate gets status 200 and the body [accepted] (https://docs.adyen",
        ),
        ("xero", "responses    a refused delivery gets no body ("),
        ("mailgun", "responses    406: the delivery is rejected"),
        (
            "shopify",
            "duplicates   found by whole body and the unsigned delivery id; replays with another",
        ),
        (
            "github",
            "duplicates   found by whole body; for events that can repeat, also the unsigned",
        ),
        (
            "woocommerce",
            "duplicates   found by nothing; distinct events can have equal bytes",
        ),
    ] {
        let shown = text(&hookgate(&["providers", provider], "", b""));
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}
