//! The request of a delivery that the queue stores, as the inspector shows it.

use hookgate_core::internal::secret_locations;
use hookgate_diagnose::Capture;
use hookgate_gate::Source;

use super::redaction::{REDACTED, redact, redact_record};
use crate::config::Redaction;
use crate::inspector::compact::FactHeaders;
use crate::inspector::record::DeliveryRecord;

/// A stored request, without the parts that were redacted.
#[derive(Debug)]
pub(crate) struct StoredRequest {
    pub(crate) capture: Capture,
    /// The parts that were redacted, such as `header authorization`.
    pub(crate) redactions: Vec<String>,
    pub(crate) event_id: Option<String>,
    source: String,
    provider: Option<String>,
}

impl StoredRequest {
    /// Removes the secrets of a request of `source`, by the rules for captures.
    pub(crate) fn new(
        mut capture: Capture,
        event_id: Option<String>,
        source: &Source,
        configured: &[Redaction],
    ) -> Self {
        let headers = FactHeaders::new(source);
        let event_id = shown_event_id(event_id, Some(&headers), configured);
        let mut record = DeliveryRecord {
            event_id,
            ..DeliveryRecord::default()
        };
        let locations = secret_locations(source.verifier().scheme());
        let redacted = redact(&mut capture, &mut record, &locations, configured);
        Self {
            capture,
            redactions: redacted.parts,
            event_id: record.event_id,
            source: source.name().to_owned(),
            provider: source.provider().map(str::to_owned),
        }
    }

    /// Returns the request in the format of one file, which `hookgate verify` reads.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let mut record = hookgate_diagnose::Record::new(&self.source);
        record.provider.clone_from(&self.provider);
        record.redacted = !self.redactions.is_empty();
        self.capture.to_bytes(&record)
    }
}

/// Returns the event id, or its replacement if the operator redacts its header.
///
/// `headers` are those of the source. Without a source, each redacted header may be the one with
/// the event id.
pub(crate) fn shown_event_id(
    event_id: Option<String>,
    headers: Option<&FactHeaders>,
    configured: &[Redaction],
) -> Option<String> {
    let is_header = |redaction: &Redaction| matches!(redaction, Redaction::Header(_));
    if headers.is_none() && configured.iter().any(is_header) {
        return event_id.map(|_| REDACTED.to_owned());
    }
    let mut record = DeliveryRecord {
        event_id,
        ..DeliveryRecord::default()
    };
    redact_record(&mut record, headers, configured);
    record.event_id
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hookgate_core::{Provider, Secret, Verifier};
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::*;

    fn source() -> Source {
        let provider = Provider::named("standard-webhooks").unwrap();
        let secret = Secret::new("whsec_5f0c8a6de2b94a135f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(provider.scheme()).key(secret);
        let source = Source::builder("in", verifier.build().unwrap());
        source.provider(&provider).build()
    }

    fn capture() -> Capture {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer one-secret-token"),
            ("webhook-id", "msg_1"),
            ("x-note", "token one-secret-token"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Capture {
            method: Method::POST,
            target: Some("/in".parse().unwrap()),
            headers,
            body: Bytes::from_static(br#"{"card":{"number":"4242"},"a":1}"#),
            arrived: None,
        }
    }

    fn event_id() -> Option<String> {
        Some("msg_1".to_owned())
    }

    #[test]
    fn a_stored_request_has_no_secret() {
        let configured = [Redaction::Pointer("/card/number".to_owned())];
        let request = StoredRequest::new(capture(), event_id(), &source(), &configured);
        let file = String::from_utf8(request.to_file()).unwrap();
        for secret in ["one-secret-token", "4242"] {
            assert!(!file.contains(secret), "{file}");
        }
        assert!(
            file.contains("msg_1") && file.contains(r#""a":1"#),
            "{file}"
        );
        assert_eq!(request.redactions.len(), 3, "{:?}", request.redactions);
        assert_eq!(request.event_id, event_id());
    }

    #[test]
    fn the_event_id_of_a_redacted_header_is_hidden() {
        let headers = FactHeaders::new(&source());
        let header = |name| [Redaction::Header(HeaderName::from_static(name))];
        let shown =
            |headers: Option<_>, configured: &[_]| shown_event_id(event_id(), headers, configured);
        let hidden = Some(REDACTED.to_owned());
        assert_eq!(shown(Some(&headers), &header("webhook-id")), hidden);
        assert_eq!(shown(Some(&headers), &header("x-other")), event_id());
        // A source that is no longer configured may have read the id from any header.
        assert_eq!(shown(None, &header("x-other")), hidden);
        assert_eq!(shown(None, &[]), event_id());
    }
}
