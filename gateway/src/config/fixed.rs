use std::net::SocketAddr;

use hookgate_core::document::{Problems, Report};

use super::{Config, Replay, TlsListener};

/// What stays as it was at the start for as long as the gateway runs.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    listen: Vec<SocketAddr>,
    h2c: bool,
    tls: Vec<TlsListener>,
    admin: SocketAddr,
    replay: Replay,
}

impl Fixed {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            h2c: config.h2c,
            tls: config.tls.clone(),
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
            ("server.h2c", self.h2c == config.h2c),
            ("server.tls", self.tls == config.tls),
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
    /// Listeners stay, and take up what is in their files by now.
    pub(crate) fn adopt_certificates(&self, config: &Config) {
        for (listener, new) in self.tls.iter().zip(&config.tls) {
            listener.tls.adopt(&new.tls);
        }
    }
}
