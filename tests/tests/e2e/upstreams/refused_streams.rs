//! HTTP/2 servers that refuse a stream: a delivery that the server certainly did not process is sent
//! once more, and no other delivery is (RFC 9113 §6.8, §8.7). The server of these tests writes its
//! frames itself.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hookgate_tests::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, read_frame,
};
use hookgate_tests::{Gateway, now, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{beatapi, deliver_own, gateway};

/// `SETTINGS_INITIAL_WINDOW_SIZE` of 16 MiB, so that the server need not extend the windows.
const LARGE_WINDOW: &[u8] = &[0, 4, 1, 0, 0, 0];
const LARGE_INCREMENT: &[u8] = &[1, 0, 0, 0];
/// `:status: 204` of the static table (RFC 7541, appendix A).
const STATUS_204: &[u8] = &[0x89];

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

/// The response of the server to a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// 204 after the whole request.
    Success,
    /// A reset of the stream, after its head.
    Reset(u32),
    /// A GOAWAY whose last stream is below the request, after its head.
    GoAwayBelow(u32),
    /// A GOAWAY whose last stream is the request, and the end of the connection.
    GoAwayAndClose(u32),
    /// The end of the connection without a frame.
    Close,
}

impl Answer {
    /// Returns whether the server declares that it did not process the request.
    fn is_refusal(self) -> bool {
        matches!(self, Self::Reset(REFUSED_STREAM) | Self::GoAwayBelow(_))
    }
}

/// The requests that a server has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Heads of requests.
    begun: usize,
    /// Requests that the server may have processed.
    arrived: usize,
    /// Bytes of the bodies of the requests that got a response.
    bytes: usize,
}

/// A server that answers one request after the other as `answers` say, and later requests with
/// success.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    state: Arc<Mutex<(Vec<Answer>, Counts)>>,
}

impl Server {
    async fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let reversed = answers.iter().rev().copied().collect();
        let server = Self {
            address: listener.local_addr().expect("the listener is bound"),
            state: Arc::new(Mutex::new((reversed, Counts::default()))),
        };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    fn counts(&self) -> Counts {
        self.state.lock().expect("no panic").1
    }

    /// Counts a request and returns the answer to it.
    fn begin(&self) -> Answer {
        let (answers, counts) = &mut *self.state.lock().expect("no panic");
        let answer = answers.pop().unwrap_or(Answer::Success);
        counts.begun += 1;
        counts.arrived += usize::from(!answer.is_refusal());
        answer
    }

    /// Serves a connection until one of its sides closes it.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.read_exact(&mut [0; 24]).await.ok()?;
        write(&mut stream, SETTINGS, 0, 0, LARGE_WINDOW).await?;
        write(&mut stream, WINDOW_UPDATE, 0, 0, LARGE_INCREMENT).await?;
        // The streams whose bodies are read.
        let mut accepted = HashSet::new();
        loop {
            let Frame {
                kind,
                flags,
                stream: id,
                payload,
            } = read_frame(&mut stream).await?;
            let is_last = flags & END_STREAM != 0;
            match kind {
                SETTINGS if flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[]).await?,
                HEADERS => match self.begin() {
                    Answer::Success => drop(accepted.insert(id)),
                    Answer::Reset(reason) => {
                        let reason = reason.to_be_bytes();
                        write(&mut stream, RST_STREAM, 0, id, &reason).await?;
                    }
                    Answer::GoAwayBelow(reason) => {
                        go_away(&mut stream, id.saturating_sub(2), reason).await?;
                    }
                    Answer::GoAwayAndClose(reason) => {
                        go_away(&mut stream, id, reason).await?;
                        // A reset of the connection would discard the frame.
                        stream.shutdown().await.ok()?;
                        while read_frame(&mut stream).await.is_some() {}
                        return None;
                    }
                    Answer::Close => return None,
                },
                DATA if accepted.contains(&id) => {
                    self.state.lock().expect("no panic").1.bytes += payload.len();
                }
                _ => {}
            }
            if is_last && matches!(kind, HEADERS | DATA) && accepted.remove(&id) {
                let flags = END_HEADERS | END_STREAM;
                write(&mut stream, HEADERS, flags, id, STATUS_204).await?;
            }
        }
    }
}

async fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Option<()> {
    let frame = frame(kind, flags, id, payload);
    stream.write_all(&frame).await.ok()
}

async fn go_away(stream: &mut TcpStream, last: u32, reason: u32) -> Option<()> {
    let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
    write(stream, GOAWAY, 0, 0, &payload).await
}

fn forwarding_to(servers: &[&Server], guarantee: &str) -> Gateway {
    let servers: Vec<String> = servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    let upstream = format!("servers = {servers:?}\nprotocol = \"h2c\"");
    gateway(&upstream)
        .every_source(&format!("delivery = \"{guarantee}\""))
        .start()
}

/// Delivers `earlier` events, and then an event whose request gets `answer`. Returns the status of
/// the last response, and the requests of the last event.
async fn deliver_to(answer: Answer, earlier: usize, guarantee: &str) -> (u16, Counts) {
    let mut answers = vec![Answer::Success; earlier];
    answers.push(answer);
    let server = Server::start(&answers).await;
    let gateway = forwarding_to(&[&server], guarantee);
    for index in 0..earlier {
        let status = deliver_own(&gateway, &format!("evt_earlier_{index}")).await;
        assert_eq!(status, 204, "{}", gateway.log());
    }
    let status = deliver_own(&gateway, "evt_last").await;
    let counts = server.counts();
    let own = Counts {
        begun: counts.begun - earlier,
        arrived: counts.arrived - earlier,
        ..counts
    };
    (status, own)
}

#[tokio::test]
async fn a_delivery_that_the_server_declares_unseen_is_sent_again_once() {
    for refusal in [
        Answer::Reset(REFUSED_STREAM),
        Answer::GoAwayBelow(NO_ERROR),
        Answer::GoAwayBelow(INTERNAL_ERROR),
        Answer::GoAwayBelow(ENHANCE_YOUR_CALM),
    ] {
        // The stream is the first one of its connection, or a later one.
        for earlier in [0, 1] {
            let (status, counts) = deliver_to(refusal, earlier, "at_least_once").await;
            assert_eq!(status, 204, "{refusal:?} {earlier}");
            let seen = (counts.begun, counts.arrived);
            assert_eq!(seen, (2, 1), "{refusal:?} {earlier}");
        }
        let (status, counts) = deliver_to(refusal, 0, "at_most_once").await;
        let seen = (status, counts.begun, counts.arrived);
        assert_eq!(seen, (204, 2, 1), "{refusal:?} at_most_once");
    }
}

/// The controls: the server may have processed the delivery.
#[tokio::test]
async fn a_delivery_that_ends_in_another_way_is_not_sent_again() {
    for end in [
        Answer::Reset(NO_ERROR),
        Answer::Reset(PROTOCOL_ERROR),
        Answer::Reset(INTERNAL_ERROR),
        Answer::Reset(CANCEL),
        Answer::Reset(ENHANCE_YOUR_CALM),
        Answer::Reset(HTTP_1_1_REQUIRED),
        Answer::GoAwayAndClose(NO_ERROR),
        Answer::GoAwayAndClose(INTERNAL_ERROR),
        Answer::Close,
    ] {
        for earlier in [0, 1] {
            let (status, counts) = deliver_to(end, earlier, "at_least_once").await;
            assert_eq!(status, 502, "{end:?} {earlier}");
            let seen = (counts.begun, counts.arrived);
            assert_eq!(seen, (1, 1), "{end:?} {earlier}");
        }
    }
}

#[tokio::test]
async fn a_delivery_that_is_refused_twice_fails_and_its_retry_is_forwarded_at_once() {
    for refusal in [Answer::Reset(REFUSED_STREAM), Answer::GoAwayBelow(NO_ERROR)] {
        let server = Server::start(&[refusal, refusal]).await;
        let gateway = forwarding_to(&[&server], "at_least_once");
        assert_eq!(deliver_own(&gateway, "evt_1").await, 502);
        let Counts { begun, arrived, .. } = server.counts();
        assert_eq!((begun, arrived), (2, 0), "{refusal:?}");
        assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
        assert_eq!(server.counts().arrived, 1, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_refused_delivery_goes_to_the_next_server() {
    let refusing = Server::start(&[Answer::GoAwayBelow(NO_ERROR)]).await;
    let other = Server::start(&[]).await;
    let gateway = forwarding_to(&[&refusing, &other], "at_least_once");
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
    let [refusing, other] = [refusing.counts(), other.counts()];
    assert_eq!((refusing.begun, refusing.arrived), (1, 0));
    assert_eq!((other.begun, other.arrived), (1, 1));
}

/// The refusal can arrive while the gateway still sends the body.
#[tokio::test]
async fn a_refused_delivery_with_a_large_body_is_sent_again_whole() {
    const LEN: usize = 1_000_000;
    for refusal in [Answer::Reset(REFUSED_STREAM), Answer::GoAwayBelow(NO_ERROR)] {
        let server = Server::start(&[refusal]).await;
        let gateway = forwarding_to(&[&server], "at_least_once");
        let body = Bytes::from(vec![b' '; LEN]);
        let mut delivery = beatapi().request(beatapi().sign(&body, now(), "evt_1"), body);
        *delivery.uri_mut() = "/own".parse().expect("the path is valid");
        let status = send(gateway.address(), delivery).await.status;
        assert_eq!(status, 204, "{refusal:?}: {}", gateway.log());
        let expected = Counts {
            begun: 2,
            arrived: 1,
            bytes: LEN,
        };
        assert_eq!(server.counts(), expected, "{refusal:?}");
    }
}
