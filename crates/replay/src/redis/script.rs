use std::sync::LazyLock;
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, RedisResult, Script, ServerErrorKind, Value};

use super::wire::Wire;
use crate::store::StoreError;

/// A script that the server runs as one step.
pub(super) struct Source {
    text: &'static str,
    hash: String,
}

pub(super) static CLAIM: LazyLock<Source> = LazyLock::new(|| {
    Source::new(concat!(
        include_str!("prelude.lua"),
        include_str!("claim.lua")
    ))
});
pub(super) static SETTLE: LazyLock<Source> =
    LazyLock::new(|| Source::new(include_str!("settle.lua")));
pub(super) static SINCE: LazyLock<Source> = LazyLock::new(|| {
    // A full server must not go on as if it remembered.
    Source::new(concat!(
        "#!lua flags=allow-oom\n",
        include_str!("prelude.lua"),
        include_str!("since.lua")
    ))
});

/// What a script answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted(u32),
    InFlight(Duration),
    Done,
    Conflict,
    Full,
    /// The server remembers only since after the delivery was signed.
    Forgotten,
    /// The server does not know since when it remembers, or has not what it had.
    Lost,
    /// It has what it had, as far as can be seen.
    Whole,
    /// What the server has of the event from now on.
    Committed(String),
    Released,
    Stale,
    /// What is under the key is not hookgate's, or of a newer version.
    Foreign,
}

impl Source {
    fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs it. A server that does not know it (it was restarted, or is another
    /// since) is told it, and has run nothing before.
    pub(super) async fn run(
        &self,
        wire: &mut Wire,
        keys: &[&str],
        arguments: &[String],
    ) -> RedisResult<Value> {
        let answer = wire
            .ask(&command("EVALSHA", &self.hash, keys, arguments))
            .await;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                wire.ask(&command("EVAL", self.text, keys, arguments)).await
            }
            answer => answer,
        }
    }
}

fn command(name: &str, script: &str, keys: &[&str], arguments: &[String]) -> Cmd {
    let mut command = ::redis::cmd(name);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

impl Answer {
    /// Reads the answer to the command with `token`. That of another would grant
    /// what was not asked for: whatever swallows an answer moves all that follow.
    pub(super) fn read(value: Value, token: &str) -> Result<Self, StoreError> {
        let text: String = ::redis::from_redis_value(value)
            .map_err(|_| StoreError::new("the server's answer is not that of the script"))?;
        let mut words = text.split(' ');
        if words.next() != Some(token) {
            return Err(StoreError::new(
                "the server's answer is that to another command",
            ));
        }
        let word = words.next().unwrap_or_default();
        let detail = words.next();
        let answer = match (word, detail) {
            ("granted", Some(attempt)) => attempt.parse().ok().map(Self::Granted),
            ("inflight", Some(millis)) => {
                let millis = millis.parse().ok();
                millis.map(|millis| Self::InFlight(Duration::from_millis(millis)))
            }
            ("done", None) => Some(Self::Done),
            ("conflict", None) => Some(Self::Conflict),
            ("full", None) => Some(Self::Full),
            ("forgotten", None) => Some(Self::Forgotten),
            ("lost", None) => Some(Self::Lost),
            ("whole", None) => Some(Self::Whole),
            ("committed", Some(entry)) => Some(Self::Committed(entry.to_owned())),
            ("released", None) => Some(Self::Released),
            ("stale", None) => Some(Self::Stale),
            ("foreign", None) => Some(Self::Foreign),
            _ => None,
        };
        answer.ok_or_else(|| StoreError::new("the server's answer is not that of the script"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_own_command_is_taken() {
        let read = |text: &str| {
            let value = Value::BulkString(text.as_bytes().to_vec());
            Answer::read(value, "00ff").map_err(|error| error.to_string())
        };
        assert_eq!(read("00ff granted 3"), Ok(Answer::Granted(3)));
        assert_eq!(
            read("00ff inflight 1500"),
            Ok(Answer::InFlight(Duration::from_millis(1500)))
        );
        assert_eq!(read("00ff done"), Ok(Answer::Done));
        assert_eq!(read("00ff foreign"), Ok(Answer::Foreign));
        assert_eq!(
            read("00ff committed d:00ff:1700000000000:"),
            Ok(Answer::Committed("d:00ff:1700000000000:".to_owned()))
        );
        for (answer, says) in [
            ("00fe granted 3", "another command"),
            ("00ff granted", "not that of the script"),
            ("00ff granted -1", "not that of the script"),
            ("00ff committed", "not that of the script"),
            ("00ff", "not that of the script"),
            ("", "another command"),
        ] {
            let error = read(answer).expect_err(answer);
            assert!(error.contains(says), "{answer}: {error}");
        }
    }
}
