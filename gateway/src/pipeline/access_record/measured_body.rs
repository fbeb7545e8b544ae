//! [`MeasuredBody`]: times and counts the bytes of a body while it is received.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use hookgate_core::Chunk;
use hookgate_gate::{BodyError, BodySource};

use crate::poll::time_blocked;

/// A body that adds the time during which its chunks were pending to `blocked`, and their bytes
/// to `received`.
pub(crate) struct MeasuredBody<'b, B> {
    pub(crate) body: B,
    pub(crate) blocked: &'b mut Duration,
    pub(crate) received: &'b mut usize,
}

impl<B: BodySource> BodySource for MeasuredBody<'_, B> {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        let chunk = time_blocked(pin!(self.body.chunk()), self.blocked).await;
        if let Ok(Some(chunk)) = &chunk {
            *self.received += chunk.len();
        }
        chunk
    }

    fn client(&self) -> Option<IpAddr> {
        self.body.client()
    }
}
