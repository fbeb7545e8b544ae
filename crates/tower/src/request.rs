//! A request as the layer hands it to the gate's pipeline.

use std::net::IpAddr;
use std::sync::Arc;

use hookgate_core::{Head, Verified};
use hookgate_gate::{AcceptedHead, CheckedRequest, InboundRequest, Reason, Refusal, Source};
use http::request;
use http_body::Body;

use crate::body::Frames;
use crate::record;
use crate::resolve::{BoxError, Resolve};

/// The head of a request, its body, and the resolver that finds its source.
pub(crate) struct LayerRequest<'r, V, B> {
    pub(crate) resolver: &'r V,
    pub(crate) parts: &'r request::Parts,
    pub(crate) declared_len: Option<u64>,
    pub(crate) frames: Frames<'r, B>,
}

impl<V, B> InboundRequest for LayerRequest<'_, V, B>
where
    V: Resolve,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Route = Arc<Source>;

    fn head(&self) -> Head<'_> {
        Head::from(self.parts)
    }

    fn declared_len(&self) -> Option<u64> {
        self.declared_len
    }

    fn client(&self) -> Option<IpAddr> {
        client(self.parts)
    }

    fn receive<'s>(
        &mut self,
        head: AcceptedHead<'s>,
    ) -> impl Future<Output = Result<CheckedRequest<'s>, Refusal>> + Send {
        head.receive(&mut self.frames)
    }

    fn is_current(&self, source: &Arc<Source>) -> bool {
        self.resolver.is_current(self.parts, source)
    }

    fn find_route(&mut self) -> impl Future<Output = Result<Arc<Source>, Refusal>> + Send {
        find_source(self.resolver, self.parts)
    }

    fn on_routed(&mut self, source: &Arc<Source>) {
        record::resolved(source);
    }

    fn on_verified(&mut self, source: &Arc<Source>, verified: &Verified) {
        record::verified(source, verified);
    }
}

/// The address of the client, in the extensions of a request.
///
/// The layer does not know the connection. If a source fetches keys, put the address into the
/// extensions before the layer. Each client network then has a share of the requests for keys. A
/// flood of invented keys from other networks keeps no genuine key out. All requests without an
/// address have one share together.
///
/// # Security
///
/// Take the address from the connection, or from a header that a trusted proxy sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Returns the address of the client, if the program has put it into the extensions.
pub(crate) fn client(parts: &request::Parts) -> Option<IpAddr> {
    let address = parts.extensions.get::<ClientAddress>();
    address.map(|address| address.0)
}

/// Finds the source of the request with this head.
///
/// # Errors
///
/// Returns [`Reason::SourceUnknown`] if no source has the request, and
/// [`Reason::SourceUnavailable`] if the lookup fails.
pub(crate) async fn find_source<V: Resolve>(
    resolver: &V,
    parts: &request::Parts,
) -> Result<Arc<Source>, Refusal> {
    match resolver.resolve(parts).await {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(Reason::SourceUnknown.into()),
        Err(error) => {
            tracing::error!(
                error = &*error as &dyn std::error::Error,
                "source lookup failed"
            );
            Err(Reason::SourceUnavailable.into())
        }
    }
}
