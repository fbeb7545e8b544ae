//! The description of a queue by `hookgate check`, and the settings that the command refuses.

use crate::configuration::{VALID, run_on};

const STORES: &str = "[replay]\nstore = \"disk\"\npath = \"/var/lib/hookgate/replay\"\n\
                      [queue]\nstore = \"disk\"\npath = \"/var/lib/hookgate/queue\"\n";

/// Returns a valid configuration with these tables, and these lines in its source.
fn config(tables: &str, source: &str) -> String {
    VALID
        .replacen("[upstreams.app]", &format!("{tables}[upstreams.app]"), 1)
        .replacen(
            "upstream = \"app\"",
            &format!("upstream = \"app\"\n{source}"),
            1,
        )
}

fn check(tables: &str, source: &str) -> (Option<i32>, String) {
    run_on("check", &config(tables, source))
}

#[test]
fn check_says_what_happens_while_the_upstream_is_down() {
    for (source, expected) in [
        (
            "",
            "  outage     senders get 502, 503 or 504; an event is lost unless its sender sends it \
             again\n",
        ),
        (
            "queue = \"on_failure\"",
            "  outage     the queue stores deliveries and sends them again, first after 5 s, then up \
             to 1 h apart; after 3 days they become dead letters\n",
        ),
        (
            "queue = \"always\"\nretry = { first = \"1s\", max = \"1m\", give_up = \"1h\" }",
            "  outage     the queue stores deliveries and sends them again, first after 1 s, then up \
             to 1 min apart; after 1 h they become dead letters\n",
        ),
    ] {
        let (exit, output) = check(STORES, source);
        assert_eq!(exit, Some(0), "{output}");
        assert!(output.contains(expected), "{expected}\n{output}");
        assert!(
            output.contains(
                "queue      disk at /var/lib/hookgate/queue, at most 10 GiB, of these 5 GiB \
                 for one source, survives a crash of the process; dead letters stay until you \
                 drop them\n"
            ),
            "{output}"
        );
    }
}

#[test]
fn check_warns_of_a_source_without_a_queue_whose_provider_does_not_retry() {
    let github = "queue = \"off\"";
    let text = |source: &str| {
        config(STORES, source).replace("\"beatapi\"\nsecrets", "\"github\"\nsecrets")
    };
    let (_, output) = run_on("check", &text(github));
    assert!(
        output.contains("warning    source beatapi: queue: GitHub sends each event once"),
        "{output}"
    );
    let (_, output) = run_on("check", &text("queue = \"on_failure\""));
    assert!(!output.contains("sends each event once"), "{output}");
}

#[test]
fn unsafe_settings_of_a_queue_are_errors() {
    let memory = "[queue]\nstore = \"disk\"\npath = \"/q\"\n";
    let nats =
        |store: &str| format!("[replay]\n{store}\n[queue]\nstore = \"nats\"\nurl = \"env:GOOD\"\n");
    let on_failure = "queue = \"on_failure\"";
    for (tables, source, expected) in [
        (
            memory.to_owned(),
            on_failure,
            "replay.store: a restart clears the memory store",
        ),
        (
            nats("store = \"disk\"\npath = \"/r\""),
            on_failure,
            "replay.store: several gateways can share a queue in NATS",
        ),
        (
            String::new(),
            on_failure,
            "source beatapi: queue: has no effect without a table [queue]",
        ),
        (
            String::new(),
            "order = \"source\"",
            "source beatapi: order: has no effect without a table",
        ),
        (
            STORES.to_owned(),
            "queue = \"on_failure\"\nmode = \"observe\"",
            "source beatapi: queue: not allowed with mode = \"observe\"",
        ),
        (
            STORES.to_owned(),
            "queue = \"always\"\ndelivery = \"at_most_once\"",
            "source beatapi: queue: not allowed with delivery = \"at_most_once\"",
        ),
        (
            STORES.to_owned(),
            "queue = \"sometimes\"",
            "source beatapi: queue: expected \"off\"",
        ),
        (
            STORES.to_owned(),
            "order = \"any_order\"",
            "source beatapi: order: expected \"any\"",
        ),
        (
            STORES.to_owned(),
            "retry = { first = \"2h\", max = \"1h\" }",
            "source beatapi: retry.max: shorter than `first`; expected at least 2 h",
        ),
        (
            STORES.to_owned(),
            "retry = { factor = 0.5 }",
            "source beatapi: retry.factor: expected a number from 1 to 100",
        ),
        (
            STORES.to_owned(),
            "retry = { last = \"1s\" }",
            "source beatapi: retry.last: unknown key",
        ),
        (
            STORES.replace("[queue]\n", "[queue]\nmax_bytes = \"1KiB\"\n"),
            on_failure,
            "queue.max_bytes: expected a size with a unit",
        ),
        (
            STORES.replace("[queue]\n", "[queue]\nmax_bytes = \"1MiB\"\n"),
            on_failure,
            "queue.max_bytes_per_source: smaller than the largest body of source beatapi",
        ),
        (
            STORES.replace("[queue]\n", "[queue]\nkeep_dead = \"never\"\n"),
            on_failure,
            "queue.keep_dead: expected \"forever\", or a duration",
        ),
        (
            STORES.replace("[queue]\n", "[queue]\nstream = \"a\"\n"),
            on_failure,
            "queue.stream: allowed only with store = \"nats\"",
        ),
        (
            STORES.replace("[queue]\n", "[queue]\nsize = 1\n"),
            on_failure,
            "queue.size: unknown key",
        ),
    ] {
        let (exit, output) = check(&tables, source);
        assert_eq!(exit, Some(78), "{expected}\n{output}");
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    // The control: the settings that each row changes are valid.
    let (exit, output) = check(STORES, "queue = \"on_failure\"\norder = \"source\"");
    assert_eq!(exit, Some(0), "{output}");
}

#[test]
fn always_is_refused_where_the_response_matters() {
    for provider in ["slack", "twilio"] {
        let text = |mode: &str| {
            config(
                STORES,
                &format!("queue = \"{mode}\"\nurl = \"https://hooks.example/in\""),
            )
            .replace("\"beatapi\"\nsecrets", &format!("\"{provider}\"\nsecrets"))
        };
        let (_, output) = run_on("check", &text("always"));
        assert!(
            output.contains(
                "source beatapi: queue: the provider acts on the content of the response"
            ),
            "{provider} {output}"
        );
        let (_, output) = run_on("check", &text("on_failure"));
        assert!(
            !output.contains("source beatapi: queue"),
            "{provider} {output}"
        );
    }
}

#[test]
fn an_upstream_for_grpc_has_no_queue() {
    let grpc = "protocol = \"h2c\"\nhealth = { grpc_service = \"\" }\nservers";
    let text = config(STORES, "queue = \"always\"").replacen("servers", grpc, 1);
    let (exit, output) = run_on("check", &text);
    assert_eq!(exit, Some(78), "{output}");
    assert!(
        output.contains("source beatapi: queue: the upstream has a health check by gRPC"),
        "{output}"
    );
}
