//! The responses that a provider expects from a receiver, other than those of the upstream.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::document::{FromValue, Section, Value, text};
use crate::scheme::SuccessStatus;

/// The responses that a provider expects.
///
/// The receiver's program knows them. hookgate needs them where it responds by itself.
#[derive(Clone, Debug, Default)]
pub struct ExpectedResponses {
    acknowledgement: Option<Acknowledgement>,
    bare_refusals: bool,
    answer_matters: bool,
    meanings: Vec<(StatusCode, String)>,
    source: String,
}

/// The response by which a provider knows that its event has arrived.
///
/// Without one, the response is 200 without a body.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl ExpectedResponses {
    /// Reads the table `response` of a provider file. `docs` is its source if it names none.
    pub(super) fn read(root: &Section<'_>, docs: &str) -> Self {
        let Some(section) = root.section("response") else {
            return Self::default();
        };
        let responses = Self {
            acknowledgement: section
                .section("acknowledge")
                .and_then(|table| Acknowledgement::read(&table)),
            bare_refusals: section.optional("bare_refusals").unwrap_or(false),
            answer_matters: section.optional("answer_matters").unwrap_or(false),
            meanings: read_meanings(&section),
            source: section
                .optional("source")
                .unwrap_or_else(|| docs.to_owned()),
        };
        section.deny_unknown();
        responses
    }

    /// Response to a delivery that hookgate acknowledges, if 200 without a body is not enough.
    pub fn acknowledgement(&self) -> Option<&Acknowledgement> {
        self.acknowledgement.as_ref()
    }

    /// Whether a refusal must have no body.
    pub fn bare_refusals(&self) -> bool {
        self.bare_refusals
    }

    /// Whether the provider acts on the content of a response, and not only on its status.
    pub fn answer_matters(&self) -> bool {
        self.answer_matters
    }

    /// Statuses with a meaning of their own for this provider, each with its description.
    pub fn meanings(&self) -> impl Iterator<Item = (StatusCode, &str)> {
        let meanings = self.meanings.iter();
        meanings.map(|(status, meaning)| (*status, meaning.as_str()))
    }

    /// Where these rules are from; empty if the provider has none.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Acknowledgement {
    fn read(section: &Section<'_>) -> Option<Self> {
        let status = section
            .optional::<SuccessStatus>("status")
            .map_or(StatusCode::OK, |status| status.0);
        let content_type = section.optional::<MediaType>("type");
        let body: Option<String> = section.optional("body");
        section.deny_unknown();
        if body.is_some() != content_type.is_some() {
            section.wrong("type", "expected `type` and `body`, or none of them");
        }
        if body.is_some() && status == StatusCode::NO_CONTENT {
            section.wrong("status", "a response with status 204 has no body");
        }
        Some(Self {
            status,
            content_type: content_type.map(|media_type| media_type.0),
            body: body.unwrap_or_default().into(),
        })
    }

    /// Status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Media type of the body, if the response has a body.
    pub fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// Body of the response.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Reads the table `meanings`: statuses, each with the reaction of the provider.
fn read_meanings(section: &Section<'_>) -> Vec<(StatusCode, String)> {
    let Some(table) = section.section("meanings") else {
        return Vec::new();
    };
    let mut meanings = Vec::new();
    for (name, value) in table.raw() {
        let status = StatusCode::from_bytes(name.as_bytes());
        match (status, value.as_str()) {
            (Ok(status), Some(meaning)) => meanings.push((status, meaning.to_owned())),
            _ => table.wrong(name, "expected a status and a text, such as 410 = \"…\""),
        }
    }
    meanings
}

/// The media type of an acknowledgement.
struct MediaType(HeaderValue);

impl FromValue for MediaType {
    const EXPECTED: &'static str = "one of text/plain, text/xml, application/json";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "text/plain" | "text/xml" | "application/json" => {
                HeaderValue::from_str(text).ok().map(Self)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Report, parse};

    fn read(text: &str) -> Result<ExpectedResponses, String> {
        let table = parse(text).map_err(|error| error.to_string())?;
        let report = Report::default();
        let root = Section::root(&table, &report);
        let responses = ExpectedResponses::read(&root, "https://docs.example");
        let responses = report.finish(Some(responses));
        responses.map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_of_a_response_is_read() {
        let responses = read(
            "[response]\nbare_refusals = true\nanswer_matters = true\nmeanings = { 410 = 'ends' }\n\
             acknowledge = { status = 202, type = 'text/plain', body = '[accepted]' }",
        )
        .unwrap();
        assert!(responses.bare_refusals() && responses.answer_matters());
        assert_eq!(responses.source(), "https://docs.example");
        let meanings: Vec<_> = responses.meanings().collect();
        assert_eq!(meanings, [(StatusCode::GONE, "ends")]);
        let acknowledgement = responses.acknowledgement().unwrap();
        assert_eq!(acknowledgement.status(), StatusCode::ACCEPTED);
        assert_eq!(acknowledgement.content_type().unwrap(), "text/plain");
        assert_eq!(acknowledgement.body(), "[accepted]");
        // The control: without the table, nothing is expected.
        let none = read("").unwrap();
        assert!(none.acknowledgement().is_none() && none.meanings().next().is_none());
        assert!(!none.bare_refusals() && !none.answer_matters());
    }

    #[test]
    fn a_mistake_in_a_response_is_reported_with_its_path() {
        for (text, message) in [
            ("colour = 1", "response.colour: unknown key"),
            ("meanings = { ok = 'x' }", "response.meanings.ok: expected"),
            (
                "acknowledge = { body = 'x' }",
                "response.acknowledge.type: expected `type` and `body`",
            ),
            (
                "acknowledge = { status = 204, type = 'text/plain', body = 'x' }",
                "response.acknowledge.status: a response with status 204",
            ),
            (
                "acknowledge = { status = 410 }",
                "response.acknowledge.status: expected one of",
            ),
        ] {
            let error = read(&format!("[response]\n{text}")).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
