//! Documents that contain the signed body, and bodies that were cut out of the signed document.

use memchr::memmem;

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::{is_gateway_event, json};
use crate::cause::Code;

/// A document of a queue or a gateway: the texts that it contains.
struct Envelope {
    name: &'static str,
    texts: &'static [&'static str],
    /// The providers that sign such a document.
    providers: &'static [&'static str],
    place: &'static str,
}

const ENVELOPES: &[Envelope] = &[
    Envelope {
        name: "a batch of messages of Amazon SQS",
        texts: &["\"Records\"", "\"messageId\"", "\"body\""],
        providers: &[],
        place: "Records[].body",
    },
    Envelope {
        name: "a notification of Amazon SNS",
        texts: &["\"TopicArn\"", "\"MessageId\"", "\"Message\""],
        providers: &["aws-sns"],
        place: "Message",
    },
    Envelope {
        name: "an event of Amazon EventBridge",
        texts: &["\"detail-type\"", "\"source\"", "\"detail\""],
        providers: &[],
        place: "detail",
    },
    Envelope {
        name: "a message of Google Cloud Pub/Sub",
        texts: &["\"message\"", "\"data\"", "\"subscription\"", "projects/"],
        providers: &["google-pubsub"],
        place: "message.data",
    },
];

/// Returns the sign that the body is a document around the signed one.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    if facts.shape == Shape::JsonString {
        let strength = match facts.hints.declared_len {
            Some(len) if len == facts.body.len() => Strength::Likely,
            _ => Strength::Strong,
        };
        return Some(sign(
            Code::BodyJsonWrapped,
            strength,
            "the body is a JSON string, so a JSON encoder has encoded the body a second time",
        ));
    }
    if facts.shape != Shape::Json {
        return None;
    }
    if is_gateway_event(facts.body) {
        let mut found = sign(
            Code::BodyJsonWrapped,
            Strength::Strong,
            "the body is the whole event of an API gateway, not its member `body`",
        );
        let fix = "verify `event.body`, decoded from base64 if `isBase64Encoded` is true";
        found.cause = found.cause.with_fix(fix);
        return Some(found);
    }
    let provider = facts.case.setup.provider.as_ref();
    let provider = provider.map_or("", |provider| provider.name());
    let has = |text: &&str| memmem::find(facts.body, text.as_bytes()).is_some();
    let envelope = ENVELOPES
        .iter()
        .filter(|envelope| !envelope.providers.contains(&provider))
        .find(|envelope| envelope.texts.iter().all(has));
    if let Some(envelope) = envelope {
        let summary = format!("the body is {}, not the body in it", envelope.name);
        let mut found = sign(Code::BodyJsonWrapped, Strength::Strong, summary);
        let fix = format!("verify the content of `{}`", envelope.place);
        found.cause = found.cause.with_fix(fix);
        return Some(found);
    }
    let name = captured_header(facts)?;
    let summary = format!(
        "the JSON of the body has a member `{name}`, so it is a document with the headers and \
         the body of the delivery"
    );
    Some(sign(Code::BodyJsonWrapped, Strength::Strong, summary))
}

/// Returns a header of the scheme that is the name of a member in the body.
fn captured_header<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    let headers = facts.case.setup.scheme.headers();
    let mut names = headers
        .into_iter()
        .map(|name| name.as_str())
        .filter(|name| name.contains('-') && !matches!(*name, "content-type" | "user-agent"));
    names.find(|name| {
        json::Tokens::new(facts.body).any(|token| {
            token.kind == json::Kind::Name
                && token.text[1..token.text.len() - 1].eq_ignore_ascii_case(name.as_bytes())
        })
    })
}
