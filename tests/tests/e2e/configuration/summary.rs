//! Configurations that load: the summary of `check`, its warnings, and the examples of the
//! repository.

use hookgate_tests::Certificates;

use super::{VALID, run_on};

#[test]
fn check_shows_a_configuration_without_its_secrets() {
    let (exit, output) = run_on("check", VALID);
    assert_eq!(exit, Some(0), "{output}");
    for expected in [
        "beatapi",
        "/hooks/beatapi",
        "at most 5 min old",
        "1 day",
        "127.0.0.1:9090",
    ] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    assert!(!output.contains("5f0c8a6de2b94a13"), "{output}");
}

#[test]
fn check_describes_the_inspector() {
    let inspector = "[inspector]\ntokens = [{ name = \"ops\", from = \"env:GOOD\", may = \"act\" }, \
                     { name = \"support\", from = \"env:QUOTED\", may = \"read\" }]\n\
                     capture = \"refused\"\ncapture_dir = \"/var/lib/captures\"\n\
                     history = \"/var/lib/history\"\n[upstreams.app]";
    let config = VALID.replacen("[upstreams.app]", inspector, 1);
    let (exit, output) = run_on("check", &config);
    assert_eq!(exit, Some(0), "{output}");
    for expected in [
        "token      ops may read and act\n",
        "token      support may read\n",
        "records    at most 10000 in memory, and for 7 days at /var/lib/history\n",
        "captures   at most 64 MiB, for 1 h, in memory and at /var/lib/captures\n",
        "  capture    head and body of refused deliveries\n",
    ] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    assert!(!output.contains("the inspector is on"), "{output}");
    let reachable = config.replacen("listen", "admin = \"0.0.0.0:9090\"\nlisten", 1);
    let (_, output) = run_on("check", &reachable);
    assert!(output.contains("the inspector is on"), "{output}");
}

#[test]
fn valid_but_dangerous_settings_are_warnings() {
    // More connections could exceed the limit of open files of this machine.
    let lasting = "[limits]\nconnections = 100\n[replay]\nstore = \"disk\"\npath = \"/var/lib/hookgate\"\n[upstreams.app]";
    let (_, output) = run_on("check", &VALID.replacen("[upstreams.app]", lasting, 1));
    // BeatAPI does not document whether it signs retries anew.
    assert_eq!(output.matches("warning").count(), 1, "{output}");
    assert!(
        output.contains("warning    source beatapi: window: "),
        "{output}"
    );
    for (good, bad, at) in [
        (
            VALID,
            (
                "[upstreams.app]",
                "[replay]\nboot_fence = false\n[upstreams.app]",
            ),
            "replay.boot_fence",
        ),
        (
            VALID,
            ("listen", "admin = \"0.0.0.0:9090\"\nlisten"),
            "server.admin",
        ),
        (
            VALID,
            ("listen", "proxy_protocol = \"0.0.0.0/0\"\nlisten"),
            "server.proxy_protocol",
        ),
        (
            VALID,
            (
                "listen",
                "trusted_proxies = [\"10.0.0.0/8\", \"::/0\"]\nlisten",
            ),
            "server.trusted_proxies",
        ),
        (
            VALID,
            ("listen", "trusted_proxies = \"0.0.0.0/0\"\nlisten"),
            "server.trusted_proxies",
        ),
        (
            VALID,
            (
                "[\"env:GOOD\"]",
                "[{ from = \"env:GOOD\", not_after = \"2020-01-01T00:00:00Z\" }]",
            ),
            "source beatapi: secrets",
        ),
        (
            VALID,
            ("env:GOOD", "env:QUOTED"),
            "source beatapi: secrets[0]",
        ),
        (
            VALID,
            ("\"beatapi\"\nsecrets", "\"github\"\nsecrets"),
            "source beatapi: queue",
        ),
        (
            VALID,
            (
                "\"beatapi\"\nsecrets",
                "\"github\"\nbody = \"20MiB\"\nsecrets",
            ),
            "source beatapi: body",
        ),
        (
            VALID,
            (
                "upstream = \"app\"",
                "upstream = \"app\"\nwindow = { past = \"9h\" }",
            ),
            "replay.store",
        ),
        (
            VALID,
            (
                "\"beatapi\"\nsecrets",
                "\"mailgun\"\nwindow = { past = \"10m\" }\nsecrets",
            ),
            "source beatapi: window",
        ),
    ] {
        let (exit, output) = run_on("check", &good.replacen(bad.0, bad.1, 1));
        assert_eq!(exit, Some(0), "{output}");
        assert!(
            output.contains(&format!("warning    {at}: ")),
            "{at}: {output}"
        );
    }
}

#[test]
fn check_shows_which_proxies_are_trusted() {
    let trusted = "trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::7\", \"unix\"]\nlisten";
    let with = |more: &str| VALID.replacen("listen", &format!("{more}{trusted}"), 1);
    for (more, expected) in [
        (
            "",
            "X-Forwarded-For and X-Forwarded-Proto of 10.0.0.0/8, 2001:db8::7/128, unix\n",
        ),
        (
            "forwarded = \"x-forwarded\"\n",
            "X-Forwarded-For and X-Forwarded-Proto of 10.0.0.0/8, ",
        ),
        (
            "forwarded = \"rfc7239\"\n",
            "Forwarded of 10.0.0.0/8, 2001:db8::7/128, unix\n",
        ),
    ] {
        let (exit, output) = run_on("check", &with(more));
        assert_eq!(exit, Some(0), "{output}");
        let expected = format!("trust      {expected}");
        assert!(output.contains(&expected), "{expected}: {output}");
        assert!(!output.contains("server.trusted_proxies"), "{output}");
    }
    let (_, output) = run_on("check", VALID);
    assert!(!output.contains("trust "), "{output}");
}

/// The boot fence compares signed timestamps. Deliveries without a timestamp, and deliveries of a
/// sender whose clock is ahead, pass it.
#[test]
fn check_warns_of_the_sources_that_the_boot_fence_does_not_protect() {
    let source = |name: &str, lines: &str| {
        format!(
            "[[sources]]\nname = \"{name}\"\npath = \"/{name}\"\nsecrets = [\"env:GOOD\"]\n\
             upstream = \"app\"\n{lines}\n"
        )
    };
    let timed = "provider = \"beatapi\"\nwindow = { future = \"0s\" }";
    let untimed = "provider = \"github\"";
    for (sources, expected) in [
        (source("strict", timed), None),
        (source("off", &format!("{untimed}\ndedupe = false")), None),
        (
            source("one", untimed) + &source("two", untimed) + &source("strict", timed),
            Some("Affected: one, two (whose schemes sign no timestamp). Expected \"disk\""),
        ),
        (
            source("late", "provider = \"beatapi\""),
            Some("Affected: late (if the sender's clock was ahead). Expected"),
        ),
        (
            source("one", untimed) + &source("late", "provider = \"beatapi\""),
            Some("no timestamp); late (if"),
        ),
    ] {
        let top = VALID
            .split("[[sources]]")
            .next()
            .expect("other tables come first");
        let (exit, output) = run_on("check", &format!("{top}{sources}"));
        assert_eq!(exit, Some(0), "{output}");
        let warning = output
            .lines()
            .find(|line| line.starts_with("warning    replay.store: "));
        match expected {
            None => assert_eq!(warning, None),
            Some(expected) => assert!(warning.is_some_and(|w| w.contains(expected)), "{output}"),
        }
    }
}

/// A shorter timeout would forward the retry a second time, so this is no warning.
#[test]
fn check_says_what_happens_to_a_slow_delivery() {
    let with = |provider: &str, timeout: &str| {
        let text = VALID
            .replace("\"beatapi\"\nsecrets", &format!("{provider:?}\nsecrets"))
            .replace("servers", &format!("timeout = {timeout:?}\nservers"));
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(0), "{output}");
        output
    };
    let slow = "  timeout    Shopify stops waiting after 5 s; this upstream may take 8 s. A slow \
                delivery is retried and then answered as a duplicate\n";
    let output = with("shopify", "8s");
    assert!(output.contains(slow), "{output}");
    assert!(!output.contains("shorter"), "{output}");
    assert!(!with("shopify", "5s").contains("stops waiting"));
    let output = with("github", "11s");
    assert!(
        output.contains("A slow delivery is not retried"),
        "{output}"
    );
}

#[test]
fn a_weak_secret_is_a_warning() {
    let (exit, output) = run_on("check", &VALID.replace("env:GOOD", "env:WEAK"));
    assert_eq!(exit, Some(0), "{output}");
    assert!(
        output.contains("source beatapi: secrets[0]: decodes to fewer than 16 bytes"),
        "{output}"
    );
}

#[test]
fn a_secret_file_may_end_with_a_line_feed() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("secret");
    std::fs::write(&file, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=\n").expect("the file is written");
    let text = VALID
        .replace("env:GOOD", &format!("file:{}", file.display()))
        .replace("provider = \"beatapi\"", "provider = \"standard-webhooks\"");
    let (exit, output) = run_on("check", &text);
    assert_eq!(exit, Some(0), "{output}");
}

#[test]
fn the_example_configuration_loads() {
    let example = include_str!("../../../../gateway.example.toml");
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "whsec_5f0c8a6de2b94a13").expect("the file is written");
    let certificates = Certificates::new();
    certificates.issue("tls", "localhost");
    let path = |file| certificates.path(file).display().to_string();
    let text = example
        .replace(
            "/run/secrets/beel",
            secret.to_str().expect("the bytes are UTF-8"),
        )
        .replace("file:/etc/hookgate/ops-token", "env:QUOTED")
        .replace(
            "/etc/hookgate/tenants",
            &folder.path().display().to_string(),
        )
        .replace("/etc/hookgate/tls.crt", &path("tls.pem"))
        .replace("/etc/hookgate/tls.key", &path("tls.key"));
    let names = [
        "BEATAPI_SECRET",
        "BEEL_OLD",
        "PARTNER_SECRET",
        "PLAID_CLIENT_ID",
        "PLAID_SECRET",
        "SUPPORT_TOKEN",
    ];
    let text = names.iter().fold(text, |text, name| {
        text.replace(&format!("env:{name}"), "env:GOOD")
    });
    let (exit, output) = run_on("check", &text);
    assert_eq!(exit, Some(0), "{output}");
}

#[test]
fn the_configuration_of_the_readme_loads() {
    let readme = include_str!("../../../../README.md");
    let (_, rest) = readme
        .split_once("```toml\n")
        .expect("the README has a TOML block");
    let (text, _) = rest.split_once("```").expect("the process ends");
    let (exit, output) = run_on("check", &text.replace("env:BEATAPI_SECRET", "env:GOOD"));
    assert_eq!(exit, Some(0), "{output}");
}

#[test]
fn check_states_how_each_scheme_recognises_duplicates() {
    for (provider, expected) in [
        ("beatapi", "dedupe     by the signed event id"),
        ("calendly", "dedupe     by the exact signed bytes"),
        (
            "line",
            "dedupe     by the signed content: two events with identical bodies are treated as one",
        ),
        (
            "github",
            "dedupe     by the signed content; only events that can have the bytes of another \
             event: also by the unsigned header x-github-delivery, so a replay of these",
        ),
        (
            "shopify",
            "dedupe     by the signed content and the unsigned header x-shopify-webhook-id: a \
             replay with a changed header is forwarded",
        ),
        (
            "woocommerce",
            "dedupe     off: distinct events can have equal bytes",
        ),
        ("telegram", "dedupe     recognises retries only: a token"),
        ("microsoft-graph", "dedupe     off: distinct events"),
        ("dropbox", "dedupe     off"),
        // Each variant is described that differs from the others.
        (
            "gitlab",
            "dedupe     signed: by the signed event id; events",
        ),
        (
            "gitlab",
            "dedupe     token: recognises retries only: a token",
        ),
        ("gitlab", "window     signed: at most 5 min old"),
        ("gitlab", "window     token: none"),
        (
            "revenuecat",
            "dedupe     signed: by the signed event id; events are remembered",
        ),
        ("svix", "dedupe     by the signed event id; events"),
    ] {
        let text = VALID.replace(
            "provider = \"beatapi\"",
            &format!("provider = \"{provider}\""),
        );
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(0), "{output}");
        assert!(output.contains(expected), "{expected}\n{output}");
    }
}

#[test]
fn check_states_the_methods_of_deliveries() {
    for (provider, url, expected) in [
        ("beatapi", "", "source     beatapi: POST /hooks"),
        (
            "twilio",
            "url = \"https://hooks.example/in\"\n",
            "source     beatapi: GET, POST /hooks",
        ),
    ] {
        let text = VALID.replace(
            "provider = \"beatapi\"",
            &format!("{url}mode = \"enforce\"\nprovider = \"{provider}\""),
        );
        let (exit, output) = run_on("check", &text);
        assert_eq!(exit, Some(0), "{output}");
        assert!(output.contains(expected), "{expected}\n{output}");
        assert!(!output.contains("observe:"), "{output}");
        let observing = text.replace("enforce", "observe");
        let (exit, output) = run_on("check", &observing);
        assert_eq!(exit, Some(0), "{output}");
        for expected in [
            "source     beatapi: every method /hooks",
            "mode       observe: forwards every method and every verdict; only a body above the \
             limit is refused (413)\n",
        ] {
            assert!(output.contains(expected), "{expected}\n{output}");
        }
    }
}
