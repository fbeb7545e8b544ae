//! Buffers the response to a gRPC call between the upstream and a slower sender.
//!
//! The gateway reads the response at the upstream's pace and writes it at the sender's. A
//! sender that does not read thus cannot delay the settlement of the delivery.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use tokio::sync::Notify;

use crate::pipeline::downstream::{Disconnected, Downstream};

/// Maximum number of bytes of one response that are buffered. Responses to webhooks are short.
const MAX_BUFFERED: usize = 1024 * 1024;

/// The bytes of one response that the sender has not received.
#[derive(Debug, Default)]
pub(crate) struct ResponseBuffer {
    buffered: Mutex<Buffered>,
    /// The buffer or its state has changed.
    changed: Notify,
    /// The buffer has exceeded [`MAX_BUFFERED`].
    overflowed: Notify,
}

#[derive(Debug, Default)]
struct Buffered {
    /// One contiguous buffer, so that many short chunks take no more memory than their bytes.
    bytes: BytesMut,
    /// Number of bytes that are being written to the sender.
    writing: usize,
    state: RelayState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RelayState {
    /// The upstream may send more.
    #[default]
    Open,
    /// The response is complete.
    Ended,
    /// The sender is too slow, or has disconnected.
    Abandoned,
}

impl ResponseBuffer {
    /// Buffers a chunk of the response. Abandons the sender if the buffer overflows.
    pub(crate) fn push(&self, chunk: &[u8]) {
        let mut buffered = self.buffered.lock();
        if buffered.state != RelayState::Open {
            return;
        }
        if buffered.bytes.len() + buffered.writing + chunk.len() > MAX_BUFFERED {
            buffered.state = RelayState::Abandoned;
            buffered.bytes = BytesMut::new();
            self.overflowed.notify_one();
        } else {
            buffered.bytes.extend_from_slice(chunk);
        }
        drop(buffered);
        self.changed.notify_one();
    }

    /// Marks the response as complete.
    pub(crate) fn end(&self) {
        let mut buffered = self.buffered.lock();
        if buffered.state == RelayState::Open {
            buffered.state = RelayState::Ended;
        }
        drop(buffered);
        self.changed.notify_one();
    }

    /// Sends the response to the sender until [`end`](Self::end) is called.
    ///
    /// The head is sent with the first byte of the body. If there is no body, the head is
    /// returned: a gRPC status in the head counts only if nothing follows the head.
    ///
    /// # Errors
    ///
    /// Returns [`Disconnected`] if the sender disconnects or is too slow. The response is
    /// aborted then.
    pub(crate) async fn relay_to(
        &self,
        downstream: &mut Downstream<'_>,
        head: ResponseHeader,
    ) -> Result<Option<ResponseHeader>, Disconnected> {
        let relayed = tokio::select! {
            relayed = self.write_all(downstream, head) => relayed,
            () = self.overflowed.notified() => Err(Disconnected::TooSlow),
        };
        if relayed.is_err() {
            self.abandon();
            downstream.abort().await;
        }
        relayed
    }

    async fn write_all(
        &self,
        downstream: &mut Downstream<'_>,
        head: ResponseHeader,
    ) -> Result<Option<ResponseHeader>, Disconnected> {
        let mut head = Some(head);
        while let Some(bytes) = self.next().await {
            if let Some(head) = head.take() {
                downstream.start_response(&head).await?;
            }
            downstream.send_chunk(bytes).await?;
        }
        Ok(head)
    }

    /// Waits for buffered bytes. Returns `None` at the end of the response.
    async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut buffered = self.buffered.lock();
                buffered.writing = buffered.bytes.len();
                match buffered.state {
                    _ if buffered.writing > 0 => return Some(buffered.bytes.split().freeze()),
                    RelayState::Open => {}
                    RelayState::Ended | RelayState::Abandoned => return None,
                }
            }
            self.changed.notified().await;
        }
    }

    fn abandon(&self) {
        let mut buffered = self.buffered.lock();
        buffered.state = RelayState::Abandoned;
        buffered.bytes = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_includes_the_bytes_that_are_being_written() {
        let buffer = ResponseBuffer::default();
        buffer.push(&[1; MAX_BUFFERED / 2]);
        let writing = buffer.next().await.expect("the first half");
        assert_eq!(writing.len(), MAX_BUFFERED / 2);
        // While the first half is written, the buffer accepts a second half.
        for byte in 0..MAX_BUFFERED / 2 {
            buffer.push(&[byte as u8]);
        }
        assert_eq!(buffer.buffered.lock().state, RelayState::Open);
        buffer.push(b"1");
        assert_eq!(buffer.buffered.lock().state, RelayState::Abandoned);
        assert_eq!(buffer.buffered.lock().bytes.capacity(), 0);
        buffer.overflowed.notified().await;
        // An abandoned buffer accepts nothing.
        buffer.push(b"2");
        assert_eq!(buffer.next().await, None);
    }

    #[tokio::test]
    async fn a_sender_that_keeps_up_receives_more_than_the_limit() {
        let buffer = ResponseBuffer::default();
        let receive = async {
            for _ in 0..40 {
                buffer.push(&[1; MAX_BUFFERED / 4]);
                tokio::task::yield_now().await;
            }
            buffer.end();
        };
        let send = async {
            let mut sent = 0;
            while let Some(bytes) = buffer.next().await {
                sent += bytes.len();
            }
            sent
        };
        let ((), sent) = tokio::join!(receive, send);
        assert_eq!(sent, 10 * MAX_BUFFERED);
    }
}
