//! The settings that a reload cannot change.

use std::net::SocketAddr;

use hookgate_core::Problems;
use hookgate_core::internal::Report;

use super::{
    Config, InspectorStorage, Network, QueueConfig, ReplayConfig, ShutdownConfig, StoreConfig,
    TlsListener, TransportAddress, TrustedProxies,
};
use crate::telemetry::access_log::AccessLogTarget;

/// What to do about a setting that a reload cannot change.
const RESTART: &str = "it changed; restart the gateway to apply it";

/// The settings that were read at the start and stay until the process ends.
#[derive(Clone, Debug)]
pub(crate) struct StartupSettings {
    listen: Vec<TransportAddress>,
    h2c: bool,
    tls: Vec<TlsListener>,
    proxy_protocol: Vec<Network>,
    trusted_proxies: Option<TrustedProxies>,
    admin: SocketAddr,
    replay: ReplayConfig,
    queue: Option<QueueConfig>,
    shutdown: ShutdownConfig,
    access_log: AccessLogTarget,
    inspector: Option<InspectorStorage>,
}

impl StartupSettings {
    pub(crate) fn from_config(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            h2c: config.h2c,
            tls: config.tls.clone(),
            proxy_protocol: config.proxy_protocol.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            admin: config.admin,
            replay: config.replay.clone(),
            queue: config.queue.clone(),
            shutdown: config.shutdown.clone(),
            access_log: config.access_log.clone(),
            inspector: inspector_storage(config),
        }
    }

    /// Returns the TLS listeners, with their current certificates.
    pub(crate) fn tls_listeners(&self) -> &[TlsListener] {
        &self.tls
    }

    /// Returns the proxies that may say who sent a request.
    pub(crate) fn trusted_proxies(&self) -> Option<&TrustedProxies> {
        self.trusted_proxies.as_ref()
    }

    /// Returns the settings of the replay store.
    pub(crate) fn store(&self) -> &StoreConfig {
        &self.replay.store
    }

    /// Checks that `config` has the same startup settings.
    ///
    /// The gateway refuses the whole configuration if one of them differs. Applying only the
    /// other settings would run a mixture of two files.
    ///
    /// # Errors
    ///
    /// Returns every key that differs.
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
            (
                "server.trusted_proxies",
                self.trusted_proxies == config.trusted_proxies,
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
            (
                "queue",
                match (&self.queue, &config.queue) {
                    (Some(old), Some(new)) => old.has_same_settings(new),
                    (old, new) => old.is_none() && new.is_none(),
                },
            ),
            (
                "inspector",
                self.inspector.is_some() == config.inspector.is_some(),
            ),
        ] {
            if !same {
                report.add(key, RESTART);
            }
        }
        if let (Some(old), Some(new)) = (self.inspector.clone(), inspector_storage(config)) {
            let folder = |storage: &InspectorStorage| Some(storage.history.as_ref()?.path.clone());
            let keep_for = |storage: &InspectorStorage| Some(storage.history.as_ref()?.keep_for);
            for (key, same) in [
                ("inspector.keep", old.keep == new.keep),
                ("inspector.history", folder(&old) == folder(&new)),
                ("inspector.history_for", keep_for(&old) == keep_for(&new)),
                ("inspector.capture_dir", old.capture_dir == new.capture_dir),
            ] {
                if !same {
                    report.add(key, RESTART);
                }
            }
        }
        report.finish(Some(()))
    }

    /// Replaces the certificates of the TLS listeners with those of a new configuration.
    pub(crate) fn adopt_certificates(&self, new: &[TlsListener]) {
        for (listener, new) in self.tls.iter().zip(new) {
            listener.tls.adopt(&new.tls);
        }
    }
}

fn inspector_storage(config: &Config) -> Option<InspectorStorage> {
    Some(config.inspector.as_ref()?.storage.clone())
}
