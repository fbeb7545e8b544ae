//! The genuine deliveries of a run: their ids, bodies and signatures.

use bytes::Bytes;
use hookgate_core::internal::{Format, event_id_headers, format_of, variant_for};
use hookgate_core::{EqualBytes, Fact, Signer, UnixTime, Variant, Window};
use hookgate_gate::Clock;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::body::{BodyFormat, Event};
use crate::cli::Error;
use crate::cli::send::{FORM, with_query};
use crate::cli::sign::{new_id, post, sign_with};
use crate::explain::Signing;

/// Signs the deliveries of a run.
pub(super) struct Deliveries<'c> {
    signing: Signing,
    signer: Signer,
    to: Uri,
    /// The headers of the options.
    headers: HeaderMap,
    format: BodyFormat,
    clock: &'c dyn Clock,
}

/// The content of a delivery before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) at: UnixTime,
    pub(super) body: Bytes,
}

/// A request, and the id of its event.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) request: Request<Bytes>,
}

impl Delivery {
    fn is_form(&self) -> bool {
        let content_type = self.request.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| value == FORM)
    }
}

impl<'c> Deliveries<'c> {
    /// Finds out which body the scheme needs, and how it signs that body.
    ///
    /// # Errors
    ///
    /// Returns an error if no delivery can be signed.
    pub(super) fn new(
        mut signing: Signing,
        to: Uri,
        headers: HeaderMap,
        clock: &'c dyn Clock,
    ) -> Result<Self, Error> {
        // The URL is signed as sent, unless --url names a different public URL, as behind a proxy.
        signing.url.get_or_insert_with(|| to.to_string());
        let signer = signing.signer(clock.now())?;
        let method = variant_for(&signer, &post(Bytes::from_static(b"{}"))).method();
        if *method != Method::POST {
            signing.method.get_or_insert_with(|| method.clone());
        }
        let mut deliveries = Self {
            signing,
            signer,
            to,
            headers,
            format: BodyFormat::Json,
            clock,
        };
        deliveries.find_body_format()?;
        Ok(deliveries)
    }

    /// Chooses the first format that the scheme can sign. Some schemes allow only signed fields in a
    /// form, so the last format has none.
    fn find_body_format(&mut self) -> Result<(), Error> {
        let mut refused = Ok(());
        for format in [BodyFormat::Json, BodyFormat::Form, BodyFormat::Empty] {
            self.format = format;
            match self.genuine() {
                Ok(delivery) if format == BodyFormat::Json && delivery.is_form() => {}
                Ok(_) => return Ok(()),
                Err(error) => refused = refused.and(Err(error)),
            }
        }
        refused
    }

    /// Returns the name of the provider or of the source.
    pub(super) fn title(&self) -> &str {
        self.signing.title()
    }

    pub(super) fn signing(&self) -> &Signing {
        &self.signing
    }

    pub(super) fn body_format(&self) -> BodyFormat {
        self.format
    }

    /// Returns the variant that signs the deliveries.
    pub(super) fn variant(&self) -> Variant<'_> {
        let event = Event::new("sample");
        let body = self.format.write(&event, &[]);
        let mut request = post(body);
        *request.headers_mut() = self.headers.clone();
        if let Some(method) = &self.signing.method {
            *request.method_mut() = method.clone();
        }
        variant_for(&self.signer, &request)
    }

    /// Returns the written form of the deliveries.
    pub(super) fn written(&self) -> Format<'_> {
        format_of(self.variant())
    }

    /// Returns the window of the source, or else that of the provider. `None` without a timestamp.
    pub(super) fn window(&self) -> Option<Window> {
        let of_provider = self.variant().window()?;
        Some(self.signing.window.unwrap_or(of_provider))
    }

    /// Returns the header with the id of the event or of the delivery that the scheme does not sign.
    pub(super) fn unsigned_id_header(&self) -> Option<HeaderName> {
        if self.variant().signs_id() {
            return None;
        }
        let delivery_id = self.signing.provider.as_ref();
        let delivery_id = delivery_id.and_then(|provider| provider.facts().delivery_id());
        match delivery_id {
            Some(fact) => Some(fact.value().clone()),
            None => event_id_headers(&self.signing.scheme).into_iter().next(),
        }
    }

    /// Whether another event of the provider can have the bytes of this one.
    pub(super) fn can_have_equal_bytes(&self, body: &[u8]) -> bool {
        let provider = self.signing.provider.as_ref();
        let fact = provider.and_then(|provider| provider.facts().equal_bytes());
        let fact = fact.map(Fact::value);
        fact.is_some_and(|fact: &EqualBytes| fact.include(body))
    }

    /// Returns a new event that is signed now.
    pub(super) fn draft(&self) -> Draft {
        self.draft_of(Event::new(&new_id()))
    }

    /// Returns a delivery of `event` that is signed now.
    pub(super) fn draft_of(&self, event: Event) -> Draft {
        let places = self.variant().id().unwrap_or_default();
        let places: Vec<&str> = places.split(" and ").collect();
        Draft {
            body: self.format.write(&event, &places),
            at: self.clock.now(),
            id: event.id,
        }
    }

    /// Returns a genuine delivery of a new event.
    pub(super) fn genuine(&self) -> Result<Delivery, Error> {
        self.sign(self.draft())
    }

    pub(super) fn sign(&self, draft: Draft) -> Result<Delivery, Error> {
        self.sign_with(&self.signer, draft)
    }

    /// Signs `draft` with any signer.
    pub(super) fn sign_with(&self, signer: &Signer, draft: Draft) -> Result<Delivery, Error> {
        let mut request = post(draft.body);
        *request.headers_mut() = self.headers.clone();
        if let Some(header) = self.unsigned_id_header() {
            let id = HeaderValue::try_from(&draft.id).map_err(Error::new)?;
            request.headers_mut().entry(header).or_insert(id);
        }
        let signed = sign_with(signer, &self.signing, draft.at, Some(&draft.id), &request);
        let mut request = signed?;
        *request.uri_mut() = with_query(&self.to, request.uri())?;
        Ok(Delivery {
            id: draft.id,
            request,
        })
    }
}
