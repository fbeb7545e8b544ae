//! Reads the keys of `[server]` about shutdown and upgrades.

use std::time::Duration;

use hookgate_core::internal::Section;

use crate::config::ShutdownConfig;

/// Reads `drain_delay` and `upgrade_socket`.
pub(super) fn read(server: &Section<'_>) -> ShutdownConfig {
    let upgrade_socket = server.optional::<String>("upgrade_socket");
    if upgrade_socket
        .as_ref()
        .is_some_and(|path| !path.starts_with('/'))
    {
        server.wrong("upgrade_socket", "expected an absolute path");
    }
    ShutdownConfig {
        drain_delay: server
            .optional::<Duration>("drain_delay")
            .unwrap_or_default(),
        upgrade_socket: upgrade_socket.map(Into::into),
    }
}
