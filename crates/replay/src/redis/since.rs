//! Since when the server remembers.
//!
//! A server that was emptied, or started again without its data, looks like one that
//! has seen no event: every replay would pass. So there is an entry beside the events
//! that says since when there are any, and a claim looks at it in the same step. It has
//! no time to live; if it is gone, the events are.

use std::time::SystemTime;

use ::redis::Value;
use futures_util::future::join_all;
use hookgate_core::UnixTime;
use tokio::time::timeout;

use super::config::RedisConfig;
use super::wire::Wire;

/// The entry that lies in the same slot of a cluster as the events whose key begins with
/// `first`: a cluster can lose the memory of one master, and must ask no other.
pub(super) fn name(config: &RedisConfig, first: u8) -> String {
    format!("{}:{{{first:02x}}}since", config.prefix)
}

/// Seconds, as those have it who say when deliveries were signed.
pub(super) fn now() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "other gates, and those after this one, go by it"
    )]
    let now = UnixTime::from(SystemTime::now());
    now.secs().to_string()
}

/// Has the server remember from now on, where it does not yet; how many entries that
/// took. What cannot be written now is written by claims.
pub(super) async fn begin(wire: &Wire, config: &RedisConfig) -> usize {
    let now = now();
    let entries = (0..=u8::MAX).map(|first| {
        let mut command = ::redis::cmd("SET");
        command.arg(name(config, first)).arg(&now).arg("NX");
        let mut wire = wire.clone();
        async move { matches!(wire.ask(&command).await, Ok(Value::Okay)) }
    });
    match timeout(config.timeout, join_all(entries)).await {
        Ok(begun) => begun.into_iter().filter(|begun| *begun).count(),
        Err(_) => 0,
    }
}

/// Tells operators.
pub(super) fn cry_loss(config: &RedisConfig) {
    tracing::error!(
        server = %config,
        prefix = config.prefix,
        "the replay store has lost what it remembered: it was emptied, or was started \
         again without its data. What was signed up to now is refused, as it may have been \
         delivered before; a retry that is signed anew is forwarded, even of an event that \
         was done"
    );
}
