use std::net::SocketAddr;

use hookgate_core::document::{Problems, Report};

use super::{Config, Replay};

/// What stays as it was at the start for as long as the gateway runs.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    replay: Replay,
}

impl Fixed {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            admin: config.admin,
            replay: config.replay.clone(),
        }
    }

    /// Makes sure that `config` differs in nothing of this. Running one half of a
    /// configuration and leaving the other would be neither of two files.
    ///
    /// # Errors
    ///
    /// What differs, and what to do.
    pub(crate) fn allows(&self, config: &Config) -> Result<(), Problems> {
        let report = Report::default();
        for (key, same) in [
            ("server.listen", self.listen == config.listen),
            ("server.admin", self.admin == config.admin),
            ("replay", self.replay == config.replay),
        ] {
            if !same {
                report.add(
                    key,
                    "cannot change while the gateway runs; expected what it was started with, or \
                     a restart",
                );
            }
        }
        report.finish(Some(()))
    }
}
