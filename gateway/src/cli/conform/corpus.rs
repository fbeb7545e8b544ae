//! The rows of the corpus, each with its reason.

use super::probe::Genuine::{self, *};
use super::probe::Repetition::*;
use super::probe::{Forgery, Probe};

/// A row of the corpus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: &'static str,
    /// Describes the requests.
    pub(super) sent: &'static str,
    pub(super) probe: Probe,
    /// Why the row matters, with the advisory if there is one.
    pub(super) why: &'static str,
}

/// Returns every row, in the order in which the rows are sent.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    GENUINE.iter().chain(&FORGED).chain(&TIMES).chain(&STATE)
}

/// Returns the row `id`.
pub(super) fn row(id: &str) -> Option<&'static Row> {
    rows().find(|row| row.id == id)
}

const fn genuine(id: &'static str, sent: &'static str, genuine: Genuine, why: &'static str) -> Row {
    Row {
        id,
        sent,
        probe: Probe::Genuine(genuine),
        why,
    }
}

const fn forged(id: &'static str, sent: &'static str, forgery: Forgery, why: &'static str) -> Row {
    Row {
        id,
        sent,
        probe: Probe::Forged(forgery),
        why,
    }
}

const fn state(id: &'static str, sent: &'static str, probe: Probe, why: &'static str) -> Row {
    Row {
        id,
        sent,
        probe,
        why,
    }
}

static GENUINE: [Row; 4] = [
    genuine(
        "good",
        "a genuine delivery",
        Plain,
        "a receiver that refuses everything passes every other row",
    ),
    genuine(
        "exact-bytes",
        "a JSON body with blanks, escapes and a line end",
        UnusualBytes,
        "a parser and a writer change the signed bytes (activepieces PR 14812)",
    ),
    genuine(
        "dotted-id",
        "an event id with dots",
        DottedId,
        "the signed text also has dots as separators",
    ),
    genuine(
        "slow-body",
        "the second half of the body 2 s later",
        SlowBody,
        "a genuine sender can be slow",
    ),
];

static FORGED: [Row; 16] = [
    forged(
        "body-changed",
        "another amount in the body",
        Forgery::BodyChanged,
        "the result of the verification counts (GHSA-4g53-vp7q-gfjv)",
    ),
    forged(
        "other-secret",
        "the signature of another secret",
        Forgery::OtherSecret,
        "a missing verifier lets everything pass (CVE-2026-44109)",
    ),
    forged(
        "empty-secret",
        "the signature of an empty secret",
        Forgery::EmptySecret,
        "an empty secret is a valid key of HMAC (GHSA-xff3-5c9p-2mr4)",
    ),
    forged(
        "placeholder-secret",
        "the signature of the secret `${WEBHOOK_SECRET}`",
        Forgery::Placeholder,
        "anyone can sign with a placeholder that was not expanded",
    ),
    forged(
        "signature-missing",
        "no signature header",
        Forgery::SignatureMissing,
        "an absent header must not skip the check (CVE-2026-21894)",
    ),
    forged(
        "signature-empty",
        "an empty signature header",
        Forgery::SignatureEmpty,
        "an empty header must not skip the check (CVE-2026-33143)",
    ),
    forged(
        "signature-changed",
        "a signature with another character",
        Forgery::SignatureChanged,
        "the whole signature counts",
    ),
    forged(
        "signature-truncated",
        "the first half of the signature",
        Forgery::SignatureTruncated,
        "a prefix of a signature is easier to guess (CVE-2024-21491)",
    ),
    forged(
        "signature-cut-off",
        "a header that ends before the signature, such as `v1,`",
        Forgery::SignatureCutOff,
        "a comparison of texts of different lengths lets it pass (CVE-2024-21491)",
    ),
    forged(
        "signature-repeated",
        "a genuine and a forged signature header",
        Forgery::SignatureRepeated,
        "of repeated headers, two programs can read different ones",
    ),
    forged(
        "signature-respelled",
        "another text of the signature, in lenient base64",
        Forgery::SignatureRespelled,
        "a key made of this text makes one event two (OpenClaw, Telnyx)",
    ),
    forged(
        "signature-junk",
        "bytes and texts that are no signature",
        Forgery::SignatureJunk,
        "a malformed header must not end the process (CVE-2023-50728)",
    ),
    forged(
        "other-version",
        "the signature under another version or algorithm",
        Forgery::OtherVersion,
        "the sender must not choose the algorithm (octokit/webhooks-methods #39)",
    ),
    forged(
        "field-missing",
        "no timestamp, or no id",
        Forgery::FieldMissing,
        "a check that needs a header must not be skipped without it (OwnPay #296)",
    ),
    forged(
        "field-repeated",
        "two different timestamps, or two ids",
        Forgery::FieldRepeated,
        "the application can read the value that is not signed",
    ),
    forged(
        "signed-id-changed",
        "another id in the signed id header",
        Forgery::SignedIdChanged,
        "an unchecked id makes one event many (grafana PR 125550)",
    ),
];

static TIMES: [Row; 7] = [
    genuine(
        "old-inside",
        "a timestamp 10 s inside of the window",
        Old,
        "retries and slow networks are genuine",
    ),
    forged(
        "old-outside",
        "a timestamp 10 s before the window",
        Forgery::TooOld,
        "a captured delivery can be replayed later (APISIX PR 13388)",
    ),
    genuine(
        "ahead-inside",
        "a timestamp ahead, 10 s inside of the window",
        Ahead,
        "the clock of a genuine sender can be ahead",
    ),
    forged(
        "ahead-outside",
        "a timestamp ahead, 10 s after the window",
        Forgery::TooFarAhead,
        "timestamps of the future extend the life of a capture (Kong, WebhookX)",
    ),
    forged(
        "timestamp-junk",
        "timestamps that are no number",
        Forgery::TimestampJunk,
        "a malformed header must be refused, and not end the process",
    ),
    forged(
        "timestamp-overflow",
        "timestamps beyond 64 bits and at their ends",
        Forgery::TimestampOverflow,
        "the sum overflows before the signature is checked (standardwebhooks, Rust)",
    ),
    forged(
        "timestamp-respelled",
        "the genuine timestamp in other characters",
        Forgery::TimestampRespelled,
        "lenient parsing makes a header malleable (standardwebhooks, JavaScript)",
    ),
];

static STATE: [Row; 7] = [
    state(
        "replay",
        "the same bytes again",
        Probe::Repeated(SameBytes),
        "an event must run once (CVE-2026-32053, CVE-2026-28449)",
    ),
    state(
        "retry",
        "the same event, signed anew",
        Probe::Repeated(SignedAnew),
        "a provider signs each retry anew, and the event must run once",
    ),
    state(
        "unsigned-id-changed",
        "the same bytes under another unsigned id",
        Probe::Repeated(OtherUnsignedId),
        "an unsigned id is no key of an event (grafana PR 125550, pr-agent #476)",
    ),
    state(
        "at-once",
        "eight copies at the same time",
        Probe::Repeated(AtOnce),
        "a check before the record lets copies pass (PageSpace PR 2199)",
    ),
    state(
        "lost-answer",
        "a sender that hangs up, and its retry",
        Probe::LostAnswer,
        "the sender does not know the outcome, and sends the event again",
    ),
    state(
        "retry-after-failure",
        "an event that fails once, and its retry",
        Probe::RetryAfterFailure,
        "a record before the success loses the event (postel #129)",
    ),
    state(
        "two-divisions",
        "one signature for two ids and bodies",
        Probe::TwoDivisions,
        "one signature must not stand for two events (CVE-2017-16005)",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_texts_are_short() {
        let ids: BTreeSet<&str> = rows().map(|row| row.id).collect();
        assert_eq!(ids.len(), rows().count());
        for row in rows() {
            assert!(row.why.len() <= 76, "{}", row.id);
            assert!(row.sent.len() <= 56, "{}", row.id);
        }
    }

    #[test]
    fn the_page_has_every_row() {
        let page = include_str!("../../../../docs/conformance.md");
        for row in rows() {
            let line = format!("| `{}` | {} |", row.id, row.sent);
            assert!(page.contains(&line), "{line}");
        }
    }
}
