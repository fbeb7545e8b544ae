//! A client that writes its frames itself. Stream 1 is a genuine delivery, whose body follows after the
//! hostile frames.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hookgate_tests::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, frame, read_frame, status_of,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::delivery::Delivery;

/// The stream of the genuine delivery.
const GENUINE: u32 = 1;
/// The longest time that the gateway may take for a verdict.
const PATIENCE: Duration = Duration::from_secs(10);
/// The content of the ping behind the hostile frames.
const MARK: &[u8] = b"the mark";

/// How the gateway treats hostile frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A connection error: the connection ends (RFC 9113 §5.4.1).
    Connection,
    /// A stream error or a response of 4xx. Other streams are not affected (RFC 9113 §5.4.2).
    Stream,
    /// The frames are a delivery, which is forwarded.
    Forwarded,
    /// The frames have no effect.
    Ignored,
    /// A stream error, or a connection error if the gateway still remembers the stream. As an expected
    /// verdict only.
    AnyError,
}

impl Verdict {
    /// Returns whether `seen` is this verdict.
    pub(super) fn allows(self, seen: Self) -> bool {
        self == seen || self == Self::AnyError && matches!(seen, Self::Connection | Self::Stream)
    }
}

/// The first bytes of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The preface, settings, and the head of the genuine delivery come first.
    Delivery,
    /// The hostile bytes come first.
    Nothing,
}

/// The frames of the gateway that the client has received.
#[derive(Debug, Default)]
pub(super) struct Seen {
    statuses: BTreeMap<u32, u16>,
    /// The streams that the gateway has reset, and the reasons.
    resets: BTreeMap<u32, u32>,
    /// The reason of a GOAWAY.
    goaway: Option<u32>,
    is_marked: bool,
    is_closed: bool,
}

impl Seen {
    /// Returns the verdict on the hostile streams.
    pub(super) fn verdict(&self) -> Verdict {
        let statuses = self.statuses.iter();
        let mut hostile = statuses.filter(|(stream, _)| **stream != GENUINE);
        let is_reset = self.resets.keys().any(|stream| *stream != GENUINE);
        if self.is_closed || self.goaway.is_some_and(|reason| reason != 0) {
            Verdict::Connection
        } else if hostile.clone().any(|(_, status)| *status < 300) {
            Verdict::Forwarded
        } else if is_reset || hostile.any(|(_, status)| (400..500).contains(status)) {
            Verdict::Stream
        } else {
            Verdict::Ignored
        }
    }

    /// Returns whether the genuine delivery got its response.
    pub(super) fn is_genuine_delivered(&self) -> bool {
        self.statuses.get(&GENUINE) == Some(&204)
    }

    fn is_genuine_over(&self) -> bool {
        self.statuses.contains_key(&GENUINE) || self.resets.contains_key(&GENUINE)
    }

    fn receive(&mut self, frame: Frame) {
        let number = |at: usize| {
            let bytes = frame.payload.get(at..at + 4);
            u32::from_be_bytes(
                bytes
                    .and_then(|bytes| bytes.try_into().ok())
                    .unwrap_or_default(),
            )
        };
        match frame.kind {
            HEADERS => {
                if let Some(status) = status_of(&frame.payload) {
                    self.statuses.insert(frame.stream, status);
                }
            }
            RST_STREAM => drop(self.resets.insert(frame.stream, number(0))),
            GOAWAY => self.goaway = Some(number(4)),
            PING if frame.flags & ACK != 0 && frame.payload == MARK => self.is_marked = true,
            _ => {}
        }
    }
}

/// Sends `hostile` on a connection of its own. Waits for the verdict `expected`, and then completes the
/// genuine delivery.
pub(super) async fn attack(
    gateway: SocketAddr,
    start: Start,
    hostile: Vec<u8>,
    genuine: &Delivery,
    expected: Verdict,
) -> Seen {
    let stream = TcpStream::connect(gateway)
        .await
        .expect("the gateway listens");
    let (mut reader, writer) = stream.into_split();
    let mut bytes = match start {
        Start::Delivery => begin(genuine),
        Start::Nothing => Vec::new(),
    };
    bytes.extend(hostile);
    bytes.extend(frame(PING, 0, 0, MARK));
    // The gateway may stop reading before it closes the connection.
    let writing = tokio::spawn(write(writer, bytes));
    let mut seen = Seen::default();
    read_until(&mut reader, &mut seen, |seen| seen.is_marked).await;
    // A stream error may come before the connection error.
    read_until(&mut reader, &mut seen, |seen| match expected {
        Verdict::Ignored => true,
        Verdict::Connection => seen.is_closed,
        _ => seen.verdict() != Verdict::Ignored,
    })
    .await;
    if seen.verdict() == Verdict::Connection {
        read_until(&mut reader, &mut seen, |_| false).await;
        writing.abort();
        return seen;
    }
    if start == Start::Nothing {
        return seen;
    }
    let writer = timeout(PATIENCE, writing).await.expect("the gateway reads");
    let body = frame(DATA, END_STREAM, GENUINE, &genuine.body);
    let _writer = write(writer.expect("no panic"), body).await;
    read_until(&mut reader, &mut seen, Seen::is_genuine_over).await;
    seen
}

/// Returns the preface, and the head of the genuine delivery.
fn begin(genuine: &Delivery) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(SETTINGS, ACK, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, GENUINE, &genuine.block()));
    bytes
}

async fn write(mut writer: OwnedWriteHalf, bytes: Vec<u8>) -> OwnedWriteHalf {
    // The gateway may have closed the connection.
    let _ = writer.write_all(&bytes).await;
    writer
}

/// Reads frames until `is_enough`, or until the connection ends.
async fn read_until(
    reader: &mut OwnedReadHalf,
    seen: &mut Seen,
    is_enough: impl Fn(&Seen) -> bool,
) {
    let reading = async {
        while !seen.is_closed && !is_enough(seen) {
            match read_frame(reader).await {
                Some(frame) => seen.receive(frame),
                None => seen.is_closed = true,
            }
        }
    };
    // The verdict shows what is missing.
    let _: Result<(), _> = timeout(PATIENCE, reading).await;
}
