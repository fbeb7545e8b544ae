use std::time::Duration;

use hookgate_core::internal::Section;

use crate::config::Stop;

/// How the gateway ends.
pub(super) fn read(server: &Section<'_>) -> Stop {
    let upgrade_socket = server.optional::<String>("upgrade_socket");
    if upgrade_socket
        .as_ref()
        .is_some_and(|path| !path.starts_with('/'))
    {
        server.wrong("upgrade_socket", "expected an absolute path");
    }
    Stop {
        drain_delay: server
            .optional::<Duration>("drain_delay")
            .unwrap_or_default(),
        upgrade_socket: upgrade_socket.map(Into::into),
    }
}
