use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::Variant;
use hookgate_gate::{BootFence, Dedupe, Mode};
use humantime::format_duration;

use super::{ConfigFile, Error};
use crate::config::{Config, RouteConfig};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let config = options.config.load()?;
    write(&config, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn write(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let clear = if config.h2c {
        "HTTP/1 and h2c"
    } else {
        "HTTP/1"
    };
    for address in &config.listen {
        writeln!(out, "listen     {address}, {clear}")?;
    }
    for listener in &config.tls {
        writeln!(
            out,
            "listen     {}, {}",
            listener.listen,
            listener.tls.describe()
        )?;
    }
    if !config.proxy_protocol.is_empty() {
        let networks: Vec<String> = config
            .proxy_protocol
            .iter()
            .map(|n| n.to_string())
            .collect();
        let networks = networks.join(", ");
        writeln!(out, "balancers  {networks} alone, by the PROXY protocol")?;
    }
    writeln!(out, "admin      {}", config.admin)?;
    let longest = format_duration(config.longest_delivery());
    writeln!(out, "ends       at most {longest} after SIGTERM")?;
    let limits = &config.limits;
    writeln!(
        out,
        "limits     {} connections, a head within {}",
        limits.connections,
        format_duration(limits.head_timeout)
    )?;
    let fence = match config.replay.boot_fence {
        BootFence::On => ", boot fence up",
        BootFence::Off => "",
    };
    writeln!(out, "replay     {}{fence}", config.replay.store.describe())?;
    for (name, upstream) in &config.upstreams {
        writeln!(out, "upstream   {name}: {}", upstream.describe())?;
    }
    for route in &config.routes {
        write_route(route, out)?;
    }
    for key in &config.from_environment {
        writeln!(out, "override   {key}, from the environment")?;
    }
    for warning in &config.warnings {
        writeln!(out, "warning    {warning}")?;
    }
    Ok(())
}

fn write_route(route: &RouteConfig, out: &mut impl Write) -> io::Result<()> {
    let source = &route.source;
    let verifier = source.verifier();
    let host = route.host.as_deref().unwrap_or("*");
    writeln!(out, "source     {}", source.name())?;
    writeln!(
        out,
        "  route      POST {host}{} -> {}",
        route.path, route.upstream
    )?;
    writeln!(
        out,
        "  scheme     {}",
        source.provider().unwrap_or("its own")
    )?;
    if source.mode() == Mode::Observe {
        writeln!(
            out,
            "  mode       observe: nothing is refused, whatever the checks below find"
        )?;
    }
    let keys: Vec<&str> = verifier.key_ids().collect();
    writeln!(
        out,
        "  keys       {} (secrets are not shown)",
        keys.join(", ")
    )?;
    // Of those variants that count.
    let signs_time = verifier.variants().any(|v| v.window().is_some());
    let signs_id = verifier.variants().all(Variant::signs_id);
    let is_token = verifier.variants().all(Variant::is_token);
    if signs_time {
        let window = verifier.window();
        let (past, future) = (
            format_duration(window.past()),
            format_duration(window.future()),
        );
        writeln!(out, "  window     {past} back, {future} ahead")?;
    } else {
        writeln!(out, "  window     none: the scheme signs no timestamp")?;
    }
    for variant in verifier.variants() {
        let name = variant
            .name()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        writeln!(
            out,
            "  signed     {name}{} {}",
            variant.algorithm(),
            variant.signed()
        )?;
        for warning in variant.warnings() {
            writeln!(out, "  caution    {name}{}", warning.text())?;
        }
    }
    for handshake in verifier.scheme().handshakes() {
        writeln!(out, "  answers    {handshake}")?;
    }
    let identity = match (signs_id, signs_time) {
        _ if source.dedupe() == Dedupe::Off => "off: every delivery that verifies is forwarded",
        _ if is_token => "retries only: a token signs nothing and does not stop replays",
        (true, _) => "by the event id, which is signed",
        (false, true) => "exact replays only: the scheme signs no event id",
        (false, false) => "by the whole content: the scheme signs neither event id nor timestamp",
    };
    let remembered = format_duration(source.retention());
    writeln!(out, "  dedupe     {identity}; remembered for {remembered}")?;
    writeln!(
        out,
        "  body       at most {} within {}",
        source.body_limit(),
        format_duration(source.body_timeout())
    )
}
