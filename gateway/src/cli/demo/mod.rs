//! `hookgate demo`: starts a gateway process and an upstream, sends good and bad deliveries of
//! several providers, and compares each verdict with the expected one.

mod cases;
mod gateway;
mod upstream;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hookgate_core::{Provider, Secret, Signer};
use hookgate_gate::Clock;

use self::cases::Case;
use self::gateway::Gateway;
use self::upstream::Upstream;
use super::Error;
use super::client::{Client, Trust};
use super::sign::new_id;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Keep the gateway running afterwards, and print commands that send deliveries to it
    #[arg(long)]
    keep: bool,
}

/// A provider of the demonstration. Each provider has its own path.
pub(super) struct DemoProvider {
    entry: Provider,
    /// A random secret for this run.
    secret: String,
    signer: Signer,
}

/// More than the error with which the boot fence knows its start.
const AFTER_START: Duration = Duration::from_millis(200);

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

    // The boot fence refuses deliveries that were signed in the second of the start. It takes a start
    // at the very end of a second for one in the next second.
    std::thread::sleep(AFTER_START);
    wait_for_new_second(clock);
    let widths = providers.iter().map(|one| one.entry.title().len());
    let width = widths.max().unwrap_or_default();
    writeln!(out, "{:<width$} {:<19} verdict", "provider", "delivery")?;
    let (mut shown, mut wrong) = (0, 0);
    let to = format!("http://{}", gateway.address());
    let to = to.parse().map_err(Error::new)?;
    let client = Client::new(&to, "--to", &Trust::System)?;
    for provider in &providers {
        for case in Case::all() {
            let expected = case.expected();
            let found = runtime.block_on(case.run(provider, &client, &upstream, clock))?;
            let mark = match found == expected {
                true => String::new(),
                false => format!("  <- expected {expected}"),
            };
            wrong += usize::from(found != expected);
            shown += 1;
            writeln!(
                out,
                "{:<width$} {:<19} {found}{mark}",
                provider.entry.title(),
                case.name(),
            )?;
        }
    }
    if wrong > 0 {
        writeln!(
            out,
            "\n{wrong} of {shown} verdicts differ from the expected ones"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "\nall {shown} verdicts are as expected")?;
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
        "\nThe gateway is still running; stop it with Ctrl-C. Send your own deliveries with:\n"
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
        let provider = Provider::named(name).map_err(Error::new)?;
        // The secret has the form that these providers use. The part after the prefix is valid
        // base64, because Standard Webhooks decodes it.
        let secret = format!("whsec_{0:0<16}{1:0<16}", &new_id()[4..], &new_id()[4..]);
        let text = Secret::new(secret.clone()).map_err(Error::new)?;
        let signer = Signer::new(provider.scheme(), &text).map_err(Error::with_causes)?;
        Ok(Self {
            entry: provider,
            secret,
            signer,
        })
    }

    /// Returns the name of the environment variable for the secret.
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

/// Waits until a new second begins, so that the following steps have nearly a whole second.
fn wait_for_new_second(clock: &dyn Clock) {
    let millis = u64::try_from(1_000 - clock.now().millis().rem_euclid(1_000)).unwrap_or(1_000);
    std::thread::sleep(Duration::from_millis(millis));
}
