//! Judges the responses to senders, and the requests to an upstream.

use std::collections::HashSet;

use super::sender::{GOOD, ID_LEN, Received, Response};
use super::trial::{Arrival, Expected, Reuse, Trial};

/// The place of the event id in an answer.
pub(super) const ID: &[u8] = b"{id}";
/// The end of each event id.
const ID_END: &[u8] = b"-00";

/// Returns the mistakes in the response to the sender of the event `id`.
pub(super) fn judge(expected: &Expected, id: &str, received: &Received) -> Vec<String> {
    let mut mistakes = Vec::new();
    match (expected, received) {
        (Expected::Cut, Received::Cut) => {}
        (Expected::GatewayError(status), Received::Response(response))
            if response.status == *status
                && response.values("hookgate-outcome").eq(["upstream"]) => {}
        (Expected::Relayed(status, body), Received::Response(response))
            if response.status == *status && response.body == fill(body, id) =>
        {
            let fields = response.fields.iter();
            let forbidden = fields.filter(|(name, value)| is_forbidden(name, value));
            mistakes.extend(forbidden.map(|(name, value)| format!("{name}: {value}")));
        }
        (_, Received::Malformed(error)) => mistakes.push(format!("malformed: {error}")),
        _ => mistakes.push(format!("received {received:?}")),
    }
    if let Received::Response(response) = received {
        let foreign = ids(response).into_iter().filter(|found| found != id);
        mistakes.extend(foreign.map(|found| format!("the answer to {found}")));
    }
    mistakes
        .into_iter()
        .map(|mistake| format!("{id}: {mistake}"))
        .collect()
}

/// Returns whether the gateway must not relay this field of an answer.
fn is_forbidden(name: &str, value: &str) -> bool {
    match name {
        "connection" => value != "close",
        "transfer-encoding" => value != "chunked",
        "hookgate-outcome" | "keep-alive" | "proxy-authenticate" | "proxy-connection" | "te"
        | "trailer" | "upgrade" | "x-secret" | "x-trailer" => true,
        _ => false,
    }
}

/// Returns the event ids in a response.
fn ids(response: &Response) -> HashSet<String> {
    let values = response.fields.iter().map(|(_, value)| value.as_bytes());
    let texts = values.chain([&response.body[..]]);
    let windows = texts.flat_map(|text| text.windows(ID_LEN));
    let ids = windows.filter(|text| {
        text[4] == b'-' && text[..4].iter().all(u8::is_ascii_digit) && text.ends_with(ID_END)
    });
    ids.map(|id| String::from_utf8_lossy(id).into_owned())
        .collect()
}

/// Returns the mistakes in the arrivals of the events of `trial`. `all` are the requests of the
/// upstream, in their order.
pub(super) fn judge_arrivals(trial: &Trial, all: &[Arrival]) -> Vec<String> {
    let ids = trial.event_ids();
    let mut mistakes = Vec::new();
    let mut connections = HashSet::new();
    for id in &ids {
        let own: Vec<_> = all.iter().filter(|arrival| arrival.id == *id).collect();
        let [arrival] = own[..] else {
            mistakes.push(format!("{id}: {} arrivals", own.len()));
            continue;
        };
        connections.insert(arrival.connection);
        let mut later = all.iter().skip_while(|other| other.id != *id).skip(1);
        let next = later.find(|other| other.connection == arrival.connection);
        if let (Reuse::Once, false, Some(next)) = (trial.reuse, id.contains(GOOD), next) {
            mistakes.push(format!("{id}: its connection carries {} too", next.id));
        }
    }
    // The control of the check above.
    if trial.reuse == Reuse::Keep && connections.len() == ids.len() {
        mistakes.push("no connection is reused".to_owned());
    }
    mistakes
}

/// Returns `template` with the event id in place of `{id}`.
pub(super) fn fill(template: &[u8], id: &str) -> Vec<u8> {
    let mut filled = Vec::with_capacity(template.len() + id.len());
    let mut rest = template;
    while let Some(at) = rest.windows(ID.len()).position(|window| window == ID) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(id.as_bytes());
        rest = &rest[at + ID.len()..];
    }
    filled.extend_from_slice(rest);
    filled
}
