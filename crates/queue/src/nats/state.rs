//! The facts about an entry that change: its [`Progress`] and the [`KeyMark`]s of its keys.
//!
//! A message of a stream cannot be changed, so another stream has these facts. It stores
//! the last message of each subject.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::ServerTime;
use super::error::CallError;
use super::message::{FailureFacts, to_json};
use super::server::Server;
use crate::entry::EntryId;

/// The result of the last attempt of an entry, and when it is due. An entry that was never
/// settled has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// When the entry was stored. A progress of another entry with the same number, from a
    /// deleted stream, has another time.
    pub(super) stored_at: u64,
    /// The number of attempts.
    pub(super) attempts: u32,
    /// The number of deliveries by the server. Later ones are attempts that were lost.
    pub(super) delivered: u64,
    /// When the entry is due, by the server's clock.
    pub(super) due: u64,
    pub(super) failure: Option<FailureFacts>,
    /// The subject through which the server learns that the entry is due at once, or deleted.
    pub(super) ack: String,
}

/// Leads from a replay key to an entry that the subject of an entry does not show: a dead letter,
/// or a batch with several keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeyMark {
    pub(super) source: String,
    /// The [`EntryName`](super::names::EntryName) of the entry.
    pub(super) name: String,
    /// The number of the dead letter, if the entry is one.
    pub(super) dead: Option<u64>,
}

impl Server {
    pub(super) async fn progress(
        &self,
        id: EntryId,
        stored_at: ServerTime,
    ) -> Result<Option<Progress>, CallError> {
        let found: Option<Progress> = self.read_state(&self.names.progress(id)).await?;
        Ok(found.filter(|progress| progress.stored_at == stored_at.0))
    }

    pub(super) async fn read_state<T: DeserializeOwned>(
        &self,
        subject: &str,
    ) -> Result<Option<T>, CallError> {
        match self.last_of_state(subject).await? {
            None => Ok(None),
            Some(message) => serde_json::from_slice(&message.payload)
                .map(Some)
                .map_err(CallError::malformed),
        }
    }

    pub(super) async fn write_state(
        &self,
        subject: String,
        value: &impl Serialize,
    ) -> Result<(), CallError> {
        let payload = to_json(value).into();
        self.publish(subject, Default::default(), payload).await?;
        Ok(())
    }

    /// Removes the message of `subject` from the stream of the state. A failure leaves a message
    /// that nothing reads.
    pub(super) async fn clear_state(&self, subject: String) {
        let filter = serde_json::json!({ "filter": subject });
        let call = format!("STREAM.PURGE.{}", self.names.state);
        if let Err(error) = self.api::<serde::de::IgnoredAny>(&call, &filter).await {
            tracing::debug!(%error, %subject, "the state of an entry was not removed");
        }
    }
}
