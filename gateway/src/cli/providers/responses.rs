//! The responses that a provider expects, as lines of text and as JSON.

use hookgate_core::{Acknowledgement, ExpectedResponses};
use serde_json::{Map, Value, json};

/// Returns one line for each rule.
pub(super) fn lines(responses: &ExpectedResponses) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(acknowledgement) = responses.acknowledgement() {
        lines.push(format!("a duplicate gets {}", describe(acknowledgement)));
    }
    if responses.bare_refusals() {
        lines.push("a refused delivery gets no body".to_owned());
    }
    if responses.answer_matters() {
        lines.push(
            "the provider acts on the response; a duplicate within 10 minutes gets the first one \
             again, if it had at most 16 KiB"
                .to_owned(),
        );
    }
    let meanings = responses.meanings();
    lines.extend(meanings.map(|(status, meaning)| format!("{}: {meaning}", status.as_str())));
    lines
        .iter_mut()
        .for_each(|line| *line += &format!(" ({})", responses.source()));
    lines
}

/// Describes a response.
fn describe(acknowledgement: &Acknowledgement) -> String {
    let status = acknowledgement.status();
    match acknowledgement.content_type() {
        None => format!("status {} without a body", status.as_str()),
        Some(_) => {
            let body = String::from_utf8_lossy(acknowledgement.body());
            format!("status {} and the body {body}", status.as_str())
        }
    }
}

pub(super) fn object(responses: &ExpectedResponses) -> Value {
    let acknowledgement = responses.acknowledgement().map(|acknowledgement| {
        let content_type = acknowledgement.content_type();
        json!({
            "status": acknowledgement.status().as_u16(),
            "type": content_type.and_then(|value| value.to_str().ok()),
            "body": String::from_utf8_lossy(acknowledgement.body()),
        })
    });
    let meanings: Map<String, Value> = responses
        .meanings()
        .map(|(status, meaning)| (status.as_str().to_owned(), meaning.into()))
        .collect();
    json!({
        "acknowledge": acknowledgement,
        "bare_refusals": responses.bare_refusals(),
        "answer_matters": responses.answer_matters(),
        "meanings": meanings,
        "source": responses.source(),
    })
}
