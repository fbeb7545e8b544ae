//! The head of a request.

use http::{HeaderMap, Method, Uri, request};

/// The head of a request: its method, target and headers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'r> {
    /// The request's method.
    pub method: &'r Method,
    /// The request's target as it was received.
    pub uri: &'r Uri,
    /// The request's headers, including repeated ones.
    pub headers: &'r HeaderMap,
}

impl<'r> Head<'r> {
    /// Creates a head from its parts.
    pub const fn new(method: &'r Method, uri: &'r Uri, headers: &'r HeaderMap) -> Self {
        Self {
            method,
            uri,
            headers,
        }
    }
}

impl<'r> From<&'r request::Parts> for Head<'r> {
    fn from(parts: &'r request::Parts) -> Self {
        Self::new(&parts.method, &parts.uri, &parts.headers)
    }
}

impl<'r, B> From<&'r http::Request<B>> for Head<'r> {
    fn from(request: &'r http::Request<B>) -> Self {
        Self::new(request.method(), request.uri(), request.headers())
    }
}
