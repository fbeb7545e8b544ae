use std::net::SocketAddr;

use hookgate_core::Problems;
use hookgate_core::internal::Report;

use super::{Config, Network, ReplayConfig, ShutdownConfig, TlsListener};
use crate::telemetry::access_log::Target;

/// What stays as it was at the start for as long as the gateway runs.
#[derive(Clone, Debug)]
pub(crate) struct StartupSettings {
    listen: Vec<SocketAddr>,
    h2c: bool,
    tls: Vec<TlsListener>,
    proxy_protocol: Vec<Network>,
    admin: SocketAddr,
    replay: ReplayConfig,
    shutdown: ShutdownConfig,
    access_log: Target,
}

impl StartupSettings {
    pub(crate) fn from_config(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            h2c: config.h2c,
            tls: config.tls.clone(),
            proxy_protocol: config.proxy_protocol.clone(),
            admin: config.admin,
            replay: config.replay.clone(),
            shutdown: config.shutdown.clone(),
            access_log: config.access_log,
        }
    }

    /// Makes sure that `config` differs in nothing of this. Running one half of a
    /// configuration and leaving the other would be neither of two files.
    ///
    /// # Errors
    ///
    /// What differs, and what to do.
    pub(crate) fn check_unchanged(&self, config: &Config) -> Result<(), Problems> {
        let report = Report::default();
        for (key, same) in [
            ("server.listen", self.listen == config.listen),
            ("server.h2c", self.h2c == config.h2c),
            ("server.tls", self.tls == config.tls),
            (
                "server.proxy_protocol",
                self.proxy_protocol == config.proxy_protocol,
            ),
            ("server.admin", self.admin == config.admin),
            (
                "server.drain_delay",
                self.shutdown.drain_delay == config.shutdown.drain_delay,
            ),
            (
                "server.upgrade_socket",
                self.shutdown.upgrade_socket == config.shutdown.upgrade_socket,
            ),
            ("server.access_log", self.access_log == config.access_log),
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
    pub(crate) fn adopt_certificates(&self, from: &[TlsListener]) {
        for (listener, new) in self.tls.iter().zip(from) {
            listener.tls.adopt(&new.tls);
        }
    }
}
