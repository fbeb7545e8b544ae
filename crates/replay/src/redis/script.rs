//! [`Script`]: the Lua scripts that the server runs atomically, and their [`Reply`].

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};

use super::connection::Connection;
use super::error::ScriptError;

/// A Lua script with its hash.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// Claims a key.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("prelude.lua"),
        include_str!("claim.lua")
    ))
});

/// Commits or releases a claim.
pub(super) static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("settle.lua")));

/// Moves the end of a lease to a later time.
pub(super) static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("renew.lua")));

/// Removes the record of a key.
pub(super) static FORGET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("forget.lua")));

/// Records a key as done, whatever its state is.
pub(super) static RECORD: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("record.lua")));

/// Checks whether the server has lost data, and records a loss. A full server must be able to
/// record it too, so the script has the flag `allow-oom`.
pub(super) static EPOCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "#!lua flags=allow-oom\n",
        include_str!("prelude.lua"),
        include_str!("epoch.lua")
    ))
});

/// Removes every key of a prefix.
#[cfg(feature = "test-util")]
pub(super) static FORGET_ALL: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("forget_all.lua")));

/// The reply of a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The key is claimed, with this attempt.
    Granted(u32),
    /// Another claim of the key is open for this time.
    InFlight(Duration),
    Done,
    Conflict,
    Full,
    /// The delivery was signed before the server's epoch.
    Forgotten,
    /// The server has no epoch, or has lost an event of this gate.
    DataLost,
    /// The server has an epoch and the last event of this gate.
    DataIntact,
    /// The event is done, and the server stores this entry for the event.
    Committed(String),
    Released,
    /// The lease ends at the later time.
    Renewed,
    Stale,
    /// The record of the key is removed.
    Removed,
    /// The server has no record of the key.
    Unknown,
    /// The value of the key was not written by hookgate, or by a newer version of it.
    Foreign,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = ::redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs the script by its hash. If the server does not know the hash, because it was
    /// restarted or replaced, it has run nothing. The script is then sent as text.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        keys: &[String],
        arguments: &[String],
    ) -> RedisResult<Value> {
        let command = command("EVALSHA", &self.hash, keys, arguments);
        match connection.query(&command).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let command = self::command("EVAL", self.text, keys, arguments);
                connection.query(&command).await
            }
            result => result,
        }
    }
}

fn command(name: &str, script: &str, keys: &[String], arguments: &[String]) -> Cmd {
    let mut command = ::redis::cmd(name);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

impl Reply {
    /// Reads the reply to the command with `token`.
    ///
    /// The token is checked because a lost reply shifts all that follow on the connection: a
    /// claim would read the grant of another claim.
    pub(super) fn read(value: Value, token: &str) -> Result<Self, ScriptError> {
        let text: String = ::redis::from_redis_value(value).map_err(ScriptError::NotText)?;
        let mut words = text.split(' ');
        if words.next() != Some(token) {
            return Err(ScriptError::OtherCommand);
        }
        let word = words.next().unwrap_or_default();
        let detail = words.next();
        if words.next().is_some() {
            return Err(ScriptError::Malformed);
        }
        let reply = match (word, detail) {
            ("granted", Some(attempt)) => number(attempt).map(Self::Granted),
            ("inflight", Some(millis)) => {
                number(millis).map(|millis| Self::InFlight(Duration::from_millis(millis)))
            }
            ("done", None) => Some(Self::Done),
            ("conflict", None) => Some(Self::Conflict),
            ("full", None) => Some(Self::Full),
            ("forgotten", None) => Some(Self::Forgotten),
            ("lost", None) => Some(Self::DataLost),
            ("intact", None) => Some(Self::DataIntact),
            ("committed", Some(entry)) => Some(Self::Committed(entry.to_owned())),
            ("released", None) => Some(Self::Released),
            ("renewed", None) => Some(Self::Renewed),
            ("stale", None) => Some(Self::Stale),
            ("removed", None) => Some(Self::Removed),
            ("unknown", None) => Some(Self::Unknown),
            ("foreign", None) => Some(Self::Foreign),
            _ => None,
        };
        reply.ok_or(ScriptError::Malformed)
    }
}

/// Reads a number as the scripts write it, which is without a sign.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    let is_unsigned = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_unsigned.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_the_token_or_in_another_form_is_an_error() {
        let read = |text: &str| {
            let value = Value::BulkString(text.as_bytes().to_vec());
            Reply::read(value, "00ff").map_err(|error| error.to_string())
        };
        assert_eq!(read("00ff granted 3"), Ok(Reply::Granted(3)));
        assert_eq!(
            read("00ff inflight 1500"),
            Ok(Reply::InFlight(Duration::from_millis(1500)))
        );
        assert_eq!(read("00ff done"), Ok(Reply::Done));
        assert_eq!(read("00ff foreign"), Ok(Reply::Foreign));
        assert_eq!(
            read("00ff committed d:00ff:1700000000000:"),
            Ok(Reply::Committed("d:00ff:1700000000000:".to_owned()))
        );
        for (reply, expected) in [
            ("00fe granted 3", "another command"),
            ("00ff granted", "not come from the script"),
            ("00ff granted -1", "not come from the script"),
            ("00ff granted +1", "not come from the script"),
            ("00ff granted 4294967296", "not come from the script"),
            ("00ff granted 1 2", "not come from the script"),
            ("00ff done ", "not come from the script"),
            ("00ff committed", "not come from the script"),
            ("00ff", "not come from the script"),
            ("", "another command"),
        ] {
            let error = read(reply).expect_err(reply);
            assert!(error.contains(expected), "{reply}: {error}");
        }
    }
}
