//! `hookgate check`: reads a configuration, and describes the gateway that it would start.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{EqualBytes, Variant, Verifier};
use hookgate_gate::{BootFence, Dedupe, Mode, QueueMode, QueuePolicy, Source};
use hookgate_queue::{Order, RetrySchedule};
use http::Method;
use humantime::format_duration;

use super::{ConfigFile, Error};
use crate::config::{
    CaptureScope, Config, HistoryConfig, InspectorConfig, Permission, RouteConfig,
};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let config = options.config.load()?;
    let mut out = io::stdout().lock();
    write_listeners(&config, &mut out)?;
    write_process(&config, &mut out)?;
    if let Some(inspector) = &config.inspector {
        write_inspector(inspector, &mut out)?;
    }
    for (name, upstream) in &config.upstreams {
        let upstream = upstream.describe();
        write_line(&mut out, "upstream", format_args!("{name}: {upstream}"))?;
    }
    for route in &config.routes {
        write_source(route, &mut out)?;
        write_detail(&mut out, "outage", describe_outage(&route.source.queue()))?;
        if config.inspector.is_some() {
            write_detail(&mut out, "capture", describe_capture(route.capture))?;
        }
    }
    for key in &config.from_environment {
        let text = format_args!("{key}, set by an environment variable");
        write_line(&mut out, "override", text)?;
    }
    for warning in &config.warnings {
        write_line(&mut out, "warning", warning)?;
    }
    let queue = config.queue.as_ref();
    if let Some(warning) = queue.and_then(|queue| queue.store.space_warning()) {
        write_line(
            &mut out,
            "warning",
            format_args!("queue.max_bytes: {warning}"),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_line(out: &mut impl Write, label: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "{label:<11}{value}")
}

/// Writes a line that belongs to the source above it.
fn write_detail(out: &mut impl Write, label: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "  {label:<11}{value}")
}

fn write_listeners(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let protocols = if config.h2c {
        "HTTP/1.1 and HTTP/2 without TLS"
    } else {
        "HTTP/1.1 without TLS"
    };
    for address in &config.listen {
        write_line(out, "listen", format_args!("{address}, {protocols}"))?;
    }
    for listener in &config.tls {
        let (address, tls) = (listener.listen, listener.tls.describe());
        write_line(out, "listen", format_args!("{address}, {tls}"))?;
    }
    if !config.proxy_protocol.is_empty() {
        let networks: Vec<String> = config
            .proxy_protocol
            .iter()
            .map(ToString::to_string)
            .collect();
        let networks = networks.join(", ");
        let text = format_args!("only {networks}, with the PROXY protocol");
        write_line(out, "accept", text)?;
    }
    if let Some(trusted) = &config.trusted_proxies {
        write_line(out, "trust", trusted)?;
    }
    write_line(out, "admin", config.admin)
}

fn write_process(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let longest = format_duration(config.longest_delivery());
    let text = format_args!("takes at most {longest} after SIGTERM");
    write_line(out, "shutdown", text)?;
    write_line(out, "access log", &config.access_log)?;
    let limits = &config.limits;
    let (connections, head_timeout) = (limits.connections, format_duration(limits.head_timeout));
    let text =
        format_args!("at most {connections} connections, request head within {head_timeout}");
    write_line(out, "limits", text)?;
    let fence = match config.replay.boot_fence {
        BootFence::On => "; after a start, deliveries that were signed earlier get 503",
        BootFence::Off => "",
    };
    let store = config.replay.store.describe();
    write_line(out, "replay", format_args!("{store}{fence}"))?;
    match &config.queue {
        None => Ok(()),
        Some(queue) => write_line(out, "queue", queue.describe()),
    }
}

/// Writes who may use the inspector, and where it keeps records and captures.
fn write_inspector(inspector: &InspectorConfig, out: &mut impl Write) -> io::Result<()> {
    let InspectorConfig {
        access,
        storage,
        capture,
    } = inspector;
    for token in &access.tokens {
        let may = match token.may {
            Permission::Read => "may read",
            Permission::Act => "may read and act",
        };
        write_line(out, "token", format_args!("{} {may}", token.name))?;
    }
    if !access.hosts.is_empty() {
        write_line(out, "hosts", access.hosts.join(", "))?;
    }
    let keep = storage.keep;
    let history = match &storage.history {
        Some(HistoryConfig { path, keep_for }) => {
            let (path, keep_for) = (path.display(), format_duration(*keep_for));
            format!("at most {keep} in memory, and for {keep_for} at {path}")
        }
        None => format!("at most {keep}, in memory"),
    };
    write_line(out, "records", history)?;
    let bytes = bytesize::ByteSize(capture.max_bytes as u64);
    let keep_for = format_duration(capture.keep_for);
    let folder = match &storage.capture_dir {
        Some(folder) => format!("in memory and at {}", folder.display()),
        None => "in memory".to_owned(),
    };
    let text = format_args!("at most {bytes}, for {keep_for}, {folder}");
    write_line(out, "captures", text)
}

fn describe_capture(scope: CaptureScope) -> &'static str {
    match scope {
        CaptureScope::None => "none",
        CaptureScope::Refused => "head and body of refused deliveries",
        CaptureScope::All => "head and body of all deliveries",
    }
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
    let [first, max, give_up] = [first, max, give_up].map(format_duration);
    format!(
        "the queue stores deliveries and sends them again, first after {first}, then up to {max} \
         apart; after {give_up} they become dead letters{order}"
    )
}

fn write_source(route: &RouteConfig, out: &mut impl Write) -> io::Result<()> {
    let source = &route.source;
    write_line(out, "source", source.name())?;
    let (host, path) = (route.host.as_deref().unwrap_or("*"), &route.path);
    let (query, upstream_path) = (&route.query, route.upstream_path.as_deref());
    let upstream_path = upstream_path.unwrap_or_default();
    let methods = match source.mode() {
        Mode::Observe => "every method",
        Mode::Enforce if source.verifier().is_delivery_method(&Method::GET) => "GET, POST",
        Mode::Enforce => "POST",
    };
    let upstream = &route.upstream;
    let text = format_args!("{methods} {host}{path}{query} -> {upstream}{upstream_path}");
    write_detail(out, "route", text)?;
    let scheme = source.provider().unwrap_or("from [sources.scheme]");
    write_detail(out, "scheme", scheme)?;
    if source.mode() == Mode::Observe {
        let text = "observe: forwards every method and every verdict; only a body above the limit \
                    is refused (413)";
        write_detail(out, "mode", text)?;
    }
    write_scheme(source.verifier(), out)?;
    let remembered = format_duration(source.retention());
    for text in describe_variants(source.verifier(), |variant| {
        describe_dedupe(source, variant)
    }) {
        let text = format_args!("{text}; events are remembered for {remembered}");
        write_detail(out, "dedupe", text)?;
    }
    let (limit, timeout) = (source.body_limit(), format_duration(source.body_timeout()));
    let text = format_args!("at most {limit}, received within {timeout}");
    write_detail(out, "body", text)
}

/// Writes the keys, the window and the enabled variants of the scheme.
fn write_scheme(verifier: &Verifier, out: &mut impl Write) -> io::Result<()> {
    let keys: Vec<&str> = verifier.key_ids().collect();
    match verifier.fetches_keys() {
        true => write_detail(out, "keys", "fetched from the provider")?,
        false => write_detail(out, "keys", keys.join(", "))?,
    }
    let window = verifier.window();
    let past = format_duration(window.past());
    let future = format_duration(window.future());
    let lines = describe_variants(verifier, |variant| match variant.window() {
        Some(_) => format!("at most {past} old, at most {future} ahead"),
        None => "none, because the scheme signs no timestamp".to_owned(),
    });
    for text in lines {
        write_detail(out, "window", text)?;
    }
    for variant in verifier.variants() {
        let name = variant
            .name()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let (algorithm, signed) = (variant.algorithm(), variant.signed());
        write_detail(out, "signed", format_args!("{name}{algorithm} {signed}"))?;
        for warning in variant.warnings() {
            write_detail(out, "warning", format_args!("{name}{}", warning.text()))?;
        }
    }
    for handshake in verifier.scheme().handshakes() {
        write_detail(out, "handshake", handshake)?;
    }
    Ok(())
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
        _ => "by the signed content: the scheme signs no event id and no timestamp".to_owned(),
    }
}
