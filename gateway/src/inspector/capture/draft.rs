//! A capture in the making: the body of one request, copied while it is received.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use hookgate_core::Verified;
use hookgate_core::internal::copy_body;
use hookgate_diagnose::CaptureFile;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};
use pingora_http::RequestHeader;

use super::budget::{CaptureBudget, Half, Reservation};
use super::{CapturedSource, RawCapture};

/// A verified body up to this size is copied, because it may be a slice of a larger buffer. A
/// longer body fills most of its buffer.
const MAX_COPIED: usize = 64 * 1024;

/// The parts of a request that are captured so far.
///
/// The body is copied, because a slice would keep the read buffer of the connection, which can
/// be much larger. So the reserved bytes are the bytes that the capture takes.
pub(crate) struct CaptureDraft {
    budget: Arc<CaptureBudget>,
    reservation: Reservation,
    body: Vec<u8>,
    /// Maximum length of the body.
    limit: usize,
    /// Whether a part of the body is missing.
    is_cut: bool,
    verified: Option<Verified>,
}

impl CaptureDraft {
    /// Starts the capture of a request whose body may have `body_limit` bytes.
    pub(crate) fn new(budget: &Arc<CaptureBudget>, body_limit: usize) -> Self {
        Self {
            reservation: budget.reservation(Half::Unverified),
            limit: body_limit.min(budget.max_body()).min(CaptureFile::MAX_BODY),
            budget: Arc::clone(budget),
            body: Vec::new(),
            is_cut: false,
            verified: None,
        }
    }

    /// Adds a chunk of the body. The rest of the body is left out if it exceeds a limit.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if self.is_cut {
            return;
        }
        let free = self.limit - self.body.len();
        self.is_cut = chunk.len() > free || !self.reserve(chunk.len());
        if !self.is_cut {
            self.body.extend_from_slice(chunk);
        }
    }

    /// Makes room for `len` more bytes of the body.
    fn reserve(&mut self, len: usize) -> bool {
        let needed = self.body.len() + len;
        let capacity = self.body.capacity();
        if needed <= capacity {
            return true;
        }
        let wanted = needed.max(capacity * 2).min(self.limit);
        let fits = self.reservation.grow(wanted - capacity);
        if fits {
            self.body.reserve_exact(wanted - self.body.len());
        }
        fits
    }

    /// Adds the verified values. They contain the body, so its copy is dropped.
    pub(crate) fn verified(&mut self, verified: Verified) {
        self.discard();
        self.verified = Some(verified);
    }

    /// Removes the verified values of a source that a reload has replaced.
    pub(crate) fn unverified(&mut self) {
        self.verified = None;
    }

    /// Drops the body, and ignores its further chunks.
    pub(crate) fn discard(&mut self) {
        self.is_cut = true;
        self.body = Vec::new();
        self.reservation = self.budget.reservation(Half::Unverified);
    }

    /// Ends the capture. Returns `None` if there is no memory for it. `scheme` is that of the URL
    /// that the sender requested, and `is_read` says whether the body was read to its end.
    pub(crate) fn finish(
        self,
        request: &RequestHeader,
        scheme: &'static str,
        is_read: bool,
        source: &CapturedSource,
    ) -> Option<RawCapture> {
        let Self {
            budget,
            mut reservation,
            body,
            limit,
            is_cut,
            verified,
        } = self;
        let is_verified = verified.is_some();
        if is_verified {
            reservation = budget.reservation(Half::Verified);
        }
        let mut verified = verified.filter(|verified| verified.body().len() <= limit);
        let body_len = verified
            .as_ref()
            .map_or(0, |verified| verified.body().len());
        if !reservation.grow(head_len(request) + body_len + source.tenant_weight()) {
            return None;
        }
        if let Some(verified) = verified.as_mut().filter(|_| body_len <= MAX_COPIED) {
            copy_body(verified);
        }
        let is_complete = match is_verified {
            true => verified.is_some(),
            false => is_read && !is_cut,
        };
        Some(RawCapture {
            method: request.method.clone(),
            target: copy_target(request),
            headers: copy_headers(&request.headers),
            scheme,
            body,
            is_complete,
            is_verified,
            verified,
            source: source.clone(),
            _reservation: reservation,
        })
    }
}

/// Leaves the body out, because it may hold private data.
impl fmt::Debug for CaptureDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureDraft")
            .field("body_len", &self.body.len())
            .field("is_cut", &self.is_cut)
            .finish_non_exhaustive()
    }
}

/// Returns about how many bytes the head takes in memory.
fn head_len(request: &RequestHeader) -> usize {
    request.uri.path().len()
        + request.uri.query().map_or(0, str::len)
        + headers_len(&request.headers)
}

/// Returns about how many bytes `headers` take in memory.
pub(super) fn headers_len(headers: &HeaderMap) -> usize {
    /// The entry of a header in the map.
    const ENTRY: usize = 112;
    let fields = headers.iter();
    fields
        .map(|(name, value)| ENTRY + name.as_str().len() + value.len())
        .sum()
}

/// Copies the target. The target of HTTP/2 has its host in a header, as that of HTTP/1 does.
fn copy_target(request: &RequestHeader) -> Uri {
    let target = match request.uri.path_and_query() {
        Some(path) if request.headers.contains_key(HOST) => path.as_str().to_owned(),
        _ => request.uri.to_string(),
    };
    // A target that was parsed is parsed again, so this error does not occur.
    Uri::try_from(target).unwrap_or_default()
}

/// Copies `headers` into one buffer of their own.
pub(super) fn copy_headers(headers: &HeaderMap) -> HeaderMap {
    let len = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(len);
    headers
        .values()
        .for_each(|value| buffer.put_slice(value.as_bytes()));
    let mut buffer = buffer.freeze();
    let mut copy = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // The bytes are those of a valid value, so this error does not occur.
        if let Ok(value) = HeaderValue::from_maybe_shared(buffer.split_to(value.len())) {
            copy.append(name.clone(), value);
        }
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspector::capture::tests::source;

    fn budget(bytes: usize) -> Arc<CaptureBudget> {
        let budget = Arc::new(CaptureBudget::default());
        budget.set_limit(bytes);
        budget
    }

    fn request(target: &str) -> RequestHeader {
        let mut request = RequestHeader::build("POST", target.as_bytes(), None).unwrap();
        request.insert_header("host", "hooks.example").unwrap();
        request.append_header("x-tag", "a").unwrap();
        request.append_header("x-tag", "b").unwrap();
        request
    }

    #[test]
    fn a_capture_has_the_whole_request_with_repeated_headers() {
        let mut draft = CaptureDraft::new(&budget(1 << 20), 100);
        draft.push(b"one ");
        draft.push(b"two");
        let raw = draft.finish(&request("/in?a=1"), "http", true, &source("github"));
        let raw = raw.expect("a capture");
        assert_eq!((&raw.body[..], raw.is_complete), (&b"one two"[..], true));
        assert_eq!(raw.target, "/in?a=1");
        let tags = raw.headers.get_all("x-tag").iter();
        assert_eq!(tags.collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_body_above_a_limit_is_cut_and_the_capture_is_partial() {
        for (body_limit, bytes, is_complete) in [
            (8, 1 << 20, true),
            (7, 1 << 20, false),
            // A capture may take a quarter of the memory.
            (100, 4 * 1024, true),
            (100, 4 * 7, false),
        ] {
            let mut draft = CaptureDraft::new(&budget(bytes), body_limit);
            draft.push(b"1234");
            draft.push(b"5678");
            draft.push(b"");
            assert_eq!(draft.is_cut, !is_complete, "{body_limit} {bytes}");
            let kept = if is_complete { 8 } else { 4 };
            assert_eq!(draft.body.len(), kept);
        }
        let unread = CaptureDraft::new(&budget(1 << 20), 8);
        let raw = unread.finish(&request("/"), "http", false, &source("github"));
        assert!(!raw.expect("a capture").is_complete);
    }

    #[test]
    fn bodies_in_the_making_count_until_they_are_dropped() {
        let budget = budget(8000);
        let mut first = CaptureDraft::new(&budget, 2000);
        first.push(&[0; 2000]);
        let mut second = CaptureDraft::new(&budget, 2000);
        second.push(&[0; 950]);
        let mut third = CaptureDraft::new(&budget, 2000);
        third.push(&[0; 950]);
        assert!(!first.is_cut && !second.is_cut && third.is_cut);
        let raw = third.finish(&request("/"), "http", true, &source("github"));
        assert!(!raw.expect("the head is captured").is_complete);
        first.discard();
        let mut fourth = CaptureDraft::new(&budget, 2000);
        fourth.push(&[0; 950]);
        let raw = fourth.finish(&request("/"), "http", true, &source("github"));
        assert!(raw.expect("a capture").is_complete);
    }
}
