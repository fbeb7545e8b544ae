//! Shows every verdict: a real gateway process in front of a real upstream,
//! and deliveries of the first providers, good and bad.

mod cases;
mod gateway;
mod upstream;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_gate::Clock;

use self::cases::Case;
use self::gateway::Gateway;
use self::upstream::Upstream;
use super::Error;
use super::client::Client;
use super::sign::new_id;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Stay up afterwards, and say how to send deliveries
    #[arg(long)]
    keep: bool,
}

/// A provider in the demonstration: its deliveries go to a path of its own.
pub(super) struct DemoProvider {
    entry: Provider,
    /// Made for this run, and worth nothing after it.
    secret: String,
    signer: Signer,
}

const PROVIDERS: [&str; 4] = ["beatapi", "beel", "standard-webhooks", "videogen"];

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let providers = PROVIDERS
        .into_iter()
        .map(DemoProvider::new)
        .collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let upstream = Upstream::start(&runtime)?;
    let mut gateway = Gateway::start(&providers, upstream.address())?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "upstream on {}, gateway on {}\n",
        upstream.address(),
        gateway.address()
    )?;

    // What was signed before the gateway started is told to come back.
    wait_for_new_second(clock);
    writeln!(
        out,
        "{:<18} {:<20} {:<26} got",
        "provider", "delivery", "expected"
    )?;
    let (mut shown, mut wrong) = (0, 0);
    for provider in &providers {
        let to = gateway.url(provider).parse().map_err(Error::new)?;
        let client = Client::new(&to)?;
        for case in Case::all() {
            let expected = case.expected();
            let found = runtime.block_on(case.run(provider, &client, &upstream, clock))?;
            let mark = if found == expected { "" } else { "  <- WRONG" };
            wrong += usize::from(found != expected);
            shown += 1;
            writeln!(
                out,
                "{:<18} {:<20} {:<26} {found}{mark}",
                provider.entry.title(),
                case.name(),
                expected.to_string(),
            )?;
        }
    }
    writeln!(out)?;
    if wrong > 0 {
        writeln!(out, "{wrong} of {shown} verdicts are not the expected ones")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "{shown} verdicts, every one as expected")?;
    if options.keep {
        explain_how_to_send(&providers, &gateway, &mut out)?;
        gateway.wait()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn explain_how_to_send(
    providers: &[DemoProvider],
    gateway: &Gateway,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "\nStill up; end it with Ctrl-C. To send deliveries of your own:\n"
    )?;
    for provider in providers {
        let variable = provider.variable();
        writeln!(out, "  export {variable}={}", provider.secret)?;
        writeln!(
            out,
            "  hookgate send --provider {} --secret env:{variable} --to {}",
            provider.entry.name(),
            gateway.url(provider)
        )?;
    }
    out.flush()
}

impl DemoProvider {
    fn new(name: &str) -> Result<Self, Error> {
        let provider = Provider::named(name)
            .ok_or_else(|| Error::new(format!("{name} is not in the catalogue")))?;
        // Random, of the shape that these providers hand out; its tail is valid
        // base64 as well, for the one that decodes it.
        let secret = format!("whsec_{0:0<16}{1:0<16}", &new_id()[4..], &new_id()[4..]);
        let text = Secret::new(secret.clone()).map_err(Error::new)?;
        let signer = Signer::new(provider.scheme(), &text).map_err(Error::new)?;
        Ok(Self {
            entry: provider,
            secret,
            signer,
        })
    }

    /// The environment variable of the secret.
    fn variable(&self) -> String {
        format!(
            "DEMO_{}_SECRET",
            self.entry.name().replace('-', "_").to_uppercase()
        )
    }

    fn path(&self) -> String {
        format!("/hooks/{}", self.entry.name())
    }
}

/// Waits until the clock has turned to a new second, so that what follows has
/// nearly all of it.
fn wait_for_new_second(clock: &dyn Clock) {
    let millis = u64::try_from(1_000 - clock.now().millis().rem_euclid(1_000)).unwrap_or(1_000);
    std::thread::sleep(std::time::Duration::from_millis(millis));
}
