//! Deliveries, bodies and counters that the tests of the layer share.

#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "no test file uses all of it"
)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::Sleep;
use tower_hookgate::{
    Clock, Provider, ResponseBody, Secret, Signer, Source, SourceBuilder, SystemClock, Verifier,
};

pub(crate) const BODY: &str = r#"{"id":"evt_1","event":"task.succeeded"}"#;
pub(crate) const SECRET: &str = "whsec_5f0c8a6de2b94a13";
pub(crate) const OTHER_SECRET: &str = "whsec_94a135f0c8a6de2b";

pub(crate) fn beatapi() -> Provider {
    Provider::named("beatapi").unwrap()
}

pub(crate) fn source_with(secret: &str) -> SourceBuilder {
    let provider = beatapi();
    let verifier = Verifier::builder(provider.scheme())
        .key(Secret::new(secret).unwrap())
        .build()
        .unwrap();
    Source::builder("beatapi", verifier).provider(&provider)
}

pub(crate) fn source() -> Source {
    source_with(SECRET).build()
}

/// Returns a delivery whose signature covers `body` and whose body is `sent`.
pub(crate) fn signed_with<B>(secret: &str, body: &str, sent: B) -> Request<B> {
    let signer = Signer::new(beatapi().scheme(), &Secret::new(secret).unwrap()).unwrap();
    let mut request = Request::post("/hooks").body(sent).unwrap();
    *request.headers_mut() = signer
        .sign(body.as_bytes(), SystemClock.now(), None)
        .unwrap();
    request
}

/// Returns a genuine delivery of `body`.
pub(crate) fn signed(body: &'static str) -> Request<Full<Bytes>> {
    signed_with(SECRET, body, Full::from(body))
}

/// Returns a delivery whose body was changed after it was signed.
pub(crate) fn forged() -> Request<Full<Bytes>> {
    signed_with(SECRET, BODY, Full::from("{}"))
}

pub(crate) async fn text<B>(response: Response<ResponseBody<B>>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The numbers of calls that began and that ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<[AtomicUsize; 2]>);

impl Calls {
    pub(crate) fn begin(&self) -> usize {
        self.0[0].fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn end(&self) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn begun(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

/// A body that arrives in these steps. It has no known length unless the test declares one.
#[derive(Debug)]
pub(crate) struct Steps {
    steps: VecDeque<Step>,
    declared: Option<u64>,
    sleeping: Option<Pin<Box<Sleep>>>,
    polls: Arc<AtomicUsize>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Chunk(&'static [u8]),
    /// This chunk, repeated without end.
    Endless(&'static [u8]),
    Sleep(Duration),
    Break,
    Hang,
}

impl Steps {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            declared: None,
            sleeping: None,
            polls: Arc::default(),
        }
    }

    pub(crate) fn declaring(mut self, len: u64) -> Self {
        self.declared = Some(len);
        self
    }

    /// Returns the number of polls so far.
    pub(crate) fn polls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.polls)
    }
}

impl http_body::Body for Steps {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        loop {
            if let Some(sleeping) = &mut self.sleeping {
                std::task::ready!(sleeping.as_mut().poll(cx));
                self.sleeping = None;
            }
            let data = |bytes| Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))));
            return match self.steps.pop_front() {
                None => Poll::Ready(None),
                Some(Step::Chunk(bytes)) => data(bytes),
                Some(Step::Endless(bytes)) => {
                    self.steps.push_front(Step::Endless(bytes));
                    data(bytes)
                }
                Some(Step::Break) => {
                    let error = io::Error::from(io::ErrorKind::ConnectionReset);
                    Poll::Ready(Some(Err(error)))
                }
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    Poll::Pending
                }
                Some(Step::Sleep(time)) => {
                    self.sleeping = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
            };
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Sends `request` and returns the status of the response.
pub(crate) async fn status<S, B, R>(service: &S, request: Request<B>) -> StatusCode
where
    S: tower::Service<Request<B>, Response = Response<R>, Error: std::fmt::Debug> + Clone,
{
    use tower::ServiceExt;
    service.clone().oneshot(request).await.unwrap().status()
}
