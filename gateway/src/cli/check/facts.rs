//! The facts of a source, as `check` prints them. Sources with equal facts share their lines.

use hookgate_core::internal::duration_text;
use hookgate_core::{EqualBytes, Fact, Provider, Retries, Variant, Verifier};
use hookgate_gate::{Dedupe, Mode, QueueMode, QueuePolicy, Source};
use hookgate_queue::{Order, RetrySchedule};
use http::Method;

use crate::config::{CaptureScope, Config, Inputs, RouteConfig};

/// A line about a source: its label and its text.
pub(super) type Line = (&'static str, String);

/// Returns the route of a source on one line.
pub(super) fn route(route: &RouteConfig) -> String {
    let host = route.host.as_deref().unwrap_or_default();
    let methods = methods(&route.source);
    let (name, path, query) = (route.source.name(), &route.path, &route.query);
    let (upstream, upstream_path) = (&route.upstream, route.upstream_path.as_deref());
    let upstream_path = upstream_path.unwrap_or_default();
    format!("{name}: {methods} {host}{path}{query} -> {upstream}{upstream_path}")
}

/// Returns the methods that deliveries of the source have.
fn methods(source: &Source) -> &'static str {
    match source.mode() {
        Mode::Observe => "every method",
        Mode::Enforce if source.verifier().is_delivery_method(&Method::GET) => "GET, POST",
        Mode::Enforce => "POST",
    }
}

/// Returns every fact about a source but its route.
pub(super) fn of_source(config: &Config, route: &RouteConfig, inputs: Inputs) -> Vec<Line> {
    let source = &route.source;
    let scheme = source.provider().unwrap_or("from [sources.scheme]");
    let mut facts = vec![("scheme", scheme.to_owned())];
    if source.mode() == Mode::Observe {
        let text = "observe: forwards every method and every verdict; only a body above the limit \
                    is refused (413)";
        facts.push(("mode", text.to_owned()));
    }
    add_scheme(route, inputs, &mut facts);
    let remembered = duration_text(source.retention());
    let lines = describe_variants(source.verifier(), |variant| {
        describe_dedupe(source, variant)
    });
    let lines = lines.into_iter();
    facts.extend(lines.map(|text| {
        (
            "dedupe",
            format!("{text}; events are remembered for {remembered}"),
        )
    }));
    let (limit, timeout) = (source.body_limit(), duration_text(source.body_timeout()));
    facts.push((
        "body",
        format!("at most {limit}, received within {timeout}"),
    ));
    facts.extend(describe_timeout(config, route).map(|text| ("timeout", text)));
    facts.push(("outage", describe_outage(&source.queue())));
    if config.inspector.is_some() {
        facts.push(("capture", describe_capture(route.capture).to_owned()));
    }
    facts
}

/// Adds the keys, the window and the enabled variants of the scheme.
fn add_scheme(route: &RouteConfig, inputs: Inputs, facts: &mut Vec<Line>) {
    let verifier = route.source.verifier();
    let keys: Vec<&str> = verifier.key_ids().collect();
    let keys = match (&route.tenants, inputs) {
        (Some(tenants), _) => tenants.describe(),
        (None, _) if verifier.fetches_keys() => "fetched from the provider".to_owned(),
        (None, Inputs::Assumed) => "not read".to_owned(),
        (None, Inputs::Read) => keys.join(", "),
    };
    facts.push(("keys", keys));
    let window = verifier.window();
    let (past, future) = (duration_text(window.past()), duration_text(window.future()));
    let windows = describe_variants(verifier, |variant| match variant.window() {
        Some(_) => format!("at most {past} old, at most {future} ahead"),
        None => "none, because the scheme signs no timestamp".to_owned(),
    });
    facts.extend(windows.into_iter().map(|text| ("window", text)));
    for variant in verifier.variants() {
        let name = variant
            .name()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let (algorithm, signed) = (variant.algorithm(), variant.signed());
        facts.push(("signed", format!("{name}{algorithm} {signed}")));
        let warnings = variant.warnings().into_iter();
        facts.extend(warnings.map(|warning| ("warning", format!("{name}{}", warning.text()))));
    }
    let handshakes = verifier.scheme().handshakes().into_iter();
    facts.extend(handshakes.map(|handshake| ("handshake", handshake)));
}

/// Describes each enabled variant. Variants with an equal description share a line, which names
/// them if there is another line.
fn describe_variants(verifier: &Verifier, describe: impl Fn(Variant<'_>) -> String) -> Vec<String> {
    let mut lines: Vec<(Vec<&str>, String)> = Vec::new();
    for variant in verifier.variants() {
        let text = describe(variant);
        let name = variant.name().unwrap_or_default();
        match lines.iter_mut().find(|(_, other)| *other == text) {
            Some((names, _)) => names.push(name),
            None => lines.push((vec![name], text)),
        }
    }
    let is_only = lines.len() == 1;
    let lines = lines.into_iter().map(|(names, text)| match is_only {
        true => text,
        false => format!("{}: {text}", names.join(", ")),
    });
    lines.collect()
}

/// Describes how the source recognises a duplicate that `variant` verifies, and the risk of the
/// rule.
fn describe_dedupe(source: &Source, variant: Variant<'_>) -> String {
    // Nothing but its content identifies an event.
    let has_only_content = !variant.signs_id() && variant.window().is_none();
    let by = if source.is_dedupe_off() {
        "off: every verified delivery is forwarded, replays included"
    } else if source.dedupe() == Dedupe::Off && has_only_content {
        return describe_content(source);
    } else if variant.is_token() {
        "recognises retries only: a token does not sign the delivery, so replays pass"
    } else if variant.signs_id() {
        "by the signed event id"
    } else if variant.window().is_some() {
        "by the exact signed bytes: the scheme signs no event id"
    } else {
        return describe_content(source);
    };
    by.to_owned()
}

/// Describes the rule of a source whose provider signs neither an event id nor a timestamp.
fn describe_content(source: &Source) -> String {
    let events = match source.equal_bytes().is_some_and(EqualBytes::is_conditional) {
        true => "; only events that can have the bytes of another event: ",
        false => ": ",
    };
    let delivery_id = source.delivery_id_header().map(http::HeaderName::as_str);
    let delivery_id = delivery_id.unwrap_or("none");
    match source.dedupe() {
        Dedupe::DeliveryId if events == ": " => format!(
            "by the signed content and the unsigned header {delivery_id}: a replay with a changed \
             header is forwarded, and so is a delivery without the header"
        ),
        Dedupe::DeliveryId => format!(
            "by the signed content{events}also by the unsigned header {delivery_id}, so a replay \
             of these with a changed header is forwarded"
        ),
        Dedupe::Off if events == ": " => {
            "off: distinct events can have equal bytes, so every verified delivery is forwarded, \
             replays included"
                .to_owned()
        }
        Dedupe::Off => format!("by the signed content{events}off, so replays of these pass"),
        _ => "by the signed content: two events with identical bodies are treated as one, and so \
              is a manual resend"
            .to_owned(),
    }
}

/// Describes what happens if the upstream is slower than the provider's patience.
///
/// A shorter `timeout` would make it worse: the retry of a delivery that the gateway has given up is
/// forwarded a second time.
fn describe_timeout(config: &Config, route: &RouteConfig) -> Option<String> {
    let source = &route.source;
    let provider = Provider::named(source.provider()?).ok()?;
    let patience = *provider.facts().timeout()?.value();
    let timeout = config.upstreams.get(&route.upstream)?.timeout;
    // With `always`, the gateway responds before the upstream does.
    if timeout <= patience || source.queue().mode == QueueMode::Always {
        return None;
    }
    let (title, patience, timeout) = (
        provider.title(),
        duration_text(patience),
        duration_text(timeout),
    );
    let slow = match provider.facts().retries().map(Fact::value) {
        Some(Retries::Never) => "is not retried, and the provider shows it as failed",
        _ => "is retried and then answered as a duplicate",
    };
    Some(format!(
        "{title} stops waiting after {patience}; this upstream may take {timeout}. A slow delivery \
         {slow}"
    ))
}

/// Describes what happens to deliveries while the upstream is down.
fn describe_outage(queue: &QueuePolicy) -> String {
    if queue.mode == QueueMode::Off {
        return "senders get 502, 503 or 504; an event is lost unless its sender sends it again"
            .to_owned();
    }
    let RetrySchedule {
        first,
        max,
        give_up,
        ..
    } = queue.schedule;
    let order = match queue.order {
        Order::Any => "",
        Order::Source => "; one at a time, in the order of their arrival",
    };
    let [first, max, give_up] = [first, max, give_up].map(duration_text);
    format!(
        "the queue stores deliveries and sends them again, first after {first}, then up to {max} \
         apart; after {give_up} they become dead letters{order}"
    )
}

fn describe_capture(scope: CaptureScope) -> &'static str {
    match scope {
        CaptureScope::None => "none",
        CaptureScope::Refused => "head and body of refused deliveries",
        CaptureScope::All => "head and body of all deliveries",
    }
}
