//! The answer to a gRPC call on its way to a sender: read from the upstream at the
//! upstream's pace, written at the sender's, so that one who does not read keeps nobody
//! from knowing what became of the call.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use pingora_http::ResponseHeader;
use tokio::sync::Notify;

use crate::pipeline::downstream::{Disconnected, Downstream};

/// Most bytes of one answer that are held for a sender who is behind. Answers to webhooks
/// are short.
const HELD: usize = 1024 * 1024;

/// What is held of one answer.
#[derive(Debug, Default)]
pub(crate) struct ResponseBuffer {
    held: Mutex<Buffered>,
    more: Notify,
    /// The sender is too far behind.
    given_up: Notify,
}

#[derive(Debug, Default)]
struct Buffered {
    /// In one piece, so that an answer of many short chunks takes no more.
    bytes: BytesMut,
    /// Bytes that are being written.
    writing: usize,
    stage: RelayState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RelayState {
    #[default]
    Goes,
    Ended,
    GivenUp,
}

impl ResponseBuffer {
    /// Holds `chunk` until it is written. Beyond the bound, the sender is given up.
    pub(crate) fn hold(&self, chunk: &[u8]) {
        let mut held = self.held.lock();
        if held.stage != RelayState::Goes {
            return;
        }
        if held.bytes.len() + held.writing + chunk.len() > HELD {
            held.stage = RelayState::GivenUp;
            held.bytes = BytesMut::new();
            self.given_up.notify_one();
        } else {
            held.bytes.extend_from_slice(chunk);
        }
        drop(held);
        self.more.notify_one();
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        let mut held = self.held.lock();
        if held.stage == RelayState::Goes {
            held.stage = RelayState::Ended;
        }
        drop(held);
        self.more.notify_one();
    }

    /// Writes what is held until nothing more comes, and ends the stream of a sender who does
    /// not take it. The head is sent with the first byte, because a status in it counts
    /// only if nothing follows; until then, it comes back.
    pub(crate) async fn tell(
        &self,
        sender: &mut Downstream<'_>,
        head: ResponseHeader,
    ) -> Result<Option<ResponseHeader>, Disconnected> {
        let error_for_log = tokio::select! {
            error_for_log = self.write(sender, head) => error_for_log,
            () = self.given_up.notified() => Err(Disconnected),
        };
        if error_for_log.is_err() {
            self.give_up();
            sender.abort().await;
        }
        error_for_log
    }

    async fn write(
        &self,
        sender: &mut Downstream<'_>,
        head: ResponseHeader,
    ) -> Result<Option<ResponseHeader>, Disconnected> {
        let mut head = Some(head);
        while let Some(bytes) = self.next().await {
            if let Some(head) = head.take() {
                sender.start(&head).await?;
            }
            sender.chunk(bytes).await?;
        }
        Ok(head)
    }

    /// What is held, once there is something; none at the end.
    async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut held = self.held.lock();
                held.writing = held.bytes.len();
                match held.stage {
                    _ if held.writing > 0 => return Some(held.bytes.split().freeze()),
                    RelayState::Goes => {}
                    RelayState::Ended | RelayState::GivenUp => return None,
                }
            }
            self.more.notified().await;
        }
    }

    fn give_up(&self) {
        let mut held = self.held.lock();
        held.stage = RelayState::GivenUp;
        held.bytes = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_bounded_with_what_is_being_written() {
        let telling = ResponseBuffer::default();
        telling.hold(&[1; HELD / 2]);
        let writing = telling.next().await.expect("half of it");
        assert_eq!(writing.len(), HELD / 2);
        // As long as the first half is not written, there is room for another.
        for byte in 0..HELD / 2 {
            telling.hold(&[byte as u8]);
        }
        assert_eq!(telling.held.lock().stage, RelayState::Goes);
        telling.hold(b"1");
        assert_eq!(telling.held.lock().stage, RelayState::GivenUp);
        assert_eq!(telling.held.lock().bytes.capacity(), 0);
        telling.given_up.notified().await;
        // Nothing more is held for one who is given up.
        telling.hold(b"2");
        assert_eq!(telling.next().await, None);
    }

    #[tokio::test]
    async fn who_keeps_up_gets_all_of_it_however_much_it_is() {
        let telling = ResponseBuffer::default();
        let coming = async {
            for _ in 0..40 {
                telling.hold(&[1; HELD / 4]);
                tokio::task::yield_now().await;
            }
            telling.end();
        };
        let written = async {
            let mut written = 0;
            while let Some(bytes) = telling.next().await {
                written += bytes.len();
            }
            written
        };
        let ((), written) = tokio::join!(coming, written);
        assert_eq!(written, 10 * HELD);
    }
}
