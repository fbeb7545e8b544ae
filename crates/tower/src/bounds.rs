//! The demands on services and bodies, with compile errors that name the cause.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::VerifiedBody;
use crate::resolve::BoxError;

/// A service that the layer can wrap. Every service that meets the bounds is one.
#[diagnostic::on_unimplemented(
    message = "`HookgateLayer` cannot wrap `{Self}`",
    label = "not a service that `HookgateLayer` can wrap",
    note = "the inner service must be `Clone + Send + 'static`: for a service that is not `Clone`, \
            add `tower::buffer::BufferLayer` between the layer and the service",
    note = "the inner service must take `http::Request<tower_hookgate::VerifiedBody>`: a service of \
            hyper takes `hyper::body::Incoming`, so make it generic over the body",
    note = "the inner service must respond with `http::Response<B>`, where `B: http_body::Body + \
            Send + 'static`, and `B::Data: From<bytes::Bytes> + Send`; its future and its error \
            must be `Send`"
)]
pub trait InnerService:
    Service<
        Request<VerifiedBody>,
        Response = Response<Self::ResponseBody>,
        Future: Send,
        Error: Send,
    > + Clone
    + Send
    + 'static
{
    /// The body of the service's responses.
    type ResponseBody: Body<Data: From<Bytes> + Send, Error: Send> + Send + 'static;
}

#[diagnostic::do_not_recommend]
impl<I, B> InnerService for I
where
    I: Service<Request<VerifiedBody>, Response = Response<B>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    B: Body + Send + 'static,
    B::Data: From<Bytes> + Send,
    B::Error: Send,
{
    type ResponseBody = B;
}

/// The body of a request that the layer can read. Every body that meets the bounds is one.
#[diagnostic::on_unimplemented(
    message = "`HookgateLayer` cannot read the request body `{Self}`",
    label = "not a body that `HookgateLayer` can read",
    note = "the body of a request must be `http_body::Body + Send + 'static`, its data must be \
            `Send`, and its error must convert into `Box<dyn std::error::Error + Send + Sync>`",
    note = "wrap bytes in `http_body_util::Full` or in `axum::body::Body`"
)]
pub trait RequestBody: Body<Data: Send, Error: Into<BoxError>> + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<B> RequestBody for B
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
}
