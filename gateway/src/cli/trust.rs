//! The options for the certificate of a server.

use std::path::PathBuf;

use clap::Args;

use super::Error;
use super::client::Trust;
use crate::pem;

/// The certificates that a command accepts.
#[derive(Debug, Args)]
pub(super) struct TrustOptions {
    /// File with the certificates of the authorities to trust, in PEM, instead of those of the
    /// system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Accept every certificate of the server
    #[arg(long)]
    insecure: bool,
}

impl TrustOptions {
    /// Checks the file of the authorities.
    pub(super) fn resolve(&self) -> Result<Trust, Error> {
        let Some(path) = &self.ca else {
            return Ok(match self.insecure {
                true => Trust::Anything(None),
                false => Trust::System,
            });
        };
        let read = pem::read("--ca", path);
        let checked = read.and_then(|text| pem::roots("--ca", path, &text));
        checked.map_err(|(option, message)| Error::new(format!("{option}: {message}")))?;
        Ok(match self.insecure {
            true => Trust::Anything(Some(path.clone())),
            false => Trust::Authorities(path.clone()),
        })
    }
}
