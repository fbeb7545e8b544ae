//! The seam to the network: a request for a document, and its response.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::address::Address;

/// Fetches documents from the hosts of providers.
///
/// [`HttpsClient`](crate::HttpsClient) implements it. A program may implement it to use a client
/// or a proxy of its own.
///
/// # Security
///
/// An implementation must connect to the host of the request alone. It must not follow a
/// redirect, and should refuse private addresses unless the operator wrote the address.
pub trait FetchDocument: fmt::Debug + Send + Sync + 'static {
    /// Fetches a document. The caller sets a time limit.
    ///
    /// # Errors
    ///
    /// Returns a [`FetchError`] if there is no response, or a response other than 200.
    fn fetch<'r>(&'r self, request: &'r DocumentRequest) -> FetchFuture<'r>;
}

/// The future of [`FetchDocument::fetch`].
pub type FetchFuture<'r> = Pin<Box<dyn Future<Output = Result<Document, FetchError>> + Send + 'r>>;

/// A request for a document.
#[derive(Clone)]
#[non_exhaustive]
pub struct DocumentRequest {
    /// The address of the document.
    pub address: Address,
    /// GET or POST.
    pub method: Method,
    /// Headers besides `Host` and the length of the body. They may hold credentials.
    pub headers: HeaderMap,
    /// The body of the request, which may hold credentials.
    pub body: Bytes,
    /// The longest document that is read, in bytes: at first [`MAX_DOCUMENT`](Self::MAX_DOCUMENT).
    pub max_len: usize,
}

impl DocumentRequest {
    /// The longest document that is read if the request sets no other limit, in bytes.
    pub const MAX_DOCUMENT: usize = 1024 * 1024;

    /// Creates a GET request.
    pub fn get(address: Address) -> Self {
        Self {
            address,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            max_len: Self::MAX_DOCUMENT,
        }
    }
}

/// Leaves headers and body out: they may hold credentials.
impl fmt::Debug for DocumentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentRequest")
            .field("address", &self.address)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// A document, and how long it stays fresh.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes of the document, at most [`DocumentRequest::max_len`].
    pub body: Bytes,
    /// The value of `max-age` in the header `Cache-Control` (RFC 9111 §5.2.2.1).
    pub max_age: Option<Duration>,
}

impl Document {
    /// Creates a document without a stated age.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            max_age: None,
        }
    }
}

/// Why a document could not be fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchError {
    /// The host has no address, or none that the client may connect to.
    AddressRefused,
    /// The host cannot be reached, or the connection broke.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// The response has another status than 200.
    Status(StatusCode),
    /// The document is larger than [`DocumentRequest::max_len`].
    TooLarge,
    /// The document took too long.
    TimedOut,
}

impl FetchError {
    /// Whether the host says that it has no such document.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Status(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::GONE)
        )
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressRefused => f.write_str("the host has no public address"),
            Self::Unreachable(_) => f.write_str("the host cannot be reached"),
            Self::Status(status) => write!(f, "the response has the status {status}"),
            Self::TooLarge => f.write_str("the document is too large"),
            Self::TimedOut => f.write_str("the document took too long"),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(cause) => Some(&**cause),
            _ => None,
        }
    }
}
