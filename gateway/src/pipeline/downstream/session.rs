//! The stream of one request, with the peer and the scheme of its connection.

use pingora_core::protocols::http::v2::server::HttpSession;

use super::http1::Http1Session;
use crate::client_address::ClientAddress;
use crate::pipeline::forwarded::UrlScheme;

/// The stream of one request, in either version of HTTP.
pub(crate) enum DownstreamSession<'s> {
    Http1(&'s mut Http1Session),
    Http2(&'s mut HttpSession),
}

impl<'s> From<&'s mut Http1Session> for DownstreamSession<'s> {
    fn from(session: &'s mut Http1Session) -> Self {
        Self::Http1(session)
    }
}

impl<'s> From<&'s mut HttpSession> for DownstreamSession<'s> {
    fn from(session: &'s mut HttpSession) -> Self {
        Self::Http2(session)
    }
}

impl DownstreamSession<'_> {
    /// Returns the address at the other end of the connection.
    pub(super) fn peer(&self) -> Option<ClientAddress> {
        match self {
            Self::Http1(session) => session.peer,
            Self::Http2(session) => session.client_addr().map(ClientAddress::of_socket),
        }
    }

    /// Returns the scheme of the connection.
    pub(super) fn scheme(&self) -> UrlScheme {
        let is_secure = match self {
            Self::Http1(session) => session.is_secure,
            Self::Http2(session) => session
                .digest()
                .is_some_and(|digest| digest.ssl_digest.is_some()),
        };
        match is_secure {
            true => UrlScheme::Https,
            false => UrlScheme::Http,
        }
    }
}
