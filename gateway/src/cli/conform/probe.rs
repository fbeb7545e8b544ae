//! The kinds of rows: their requests, and the responses of a safe receiver.

/// The requests of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// A genuine delivery.
    Genuine(Genuine),
    /// Requests that no provider sends.
    Forged(Forgery),
    /// A genuine delivery, and then others of the same event.
    Repeated(Repetition),
    /// An event whose first run fails, and its retry.
    RetryAfterFailure,
    /// A delivery whose sender hangs up before the response, and its retry.
    LostAnswer,
    /// One signature with two divisions of the signed text into id, time and body.
    TwoDivisions,
}

/// A genuine delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Genuine {
    Plain,
    /// The JSON body is written as no JSON writer writes it.
    UnusualBytes,
    /// The event id contains dots.
    DottedId,
    /// The second half of the body follows after a pause.
    SlowBody,
    /// The timestamp is almost as old as the window allows.
    Old,
    /// The timestamp is almost as far ahead as the window allows.
    Ahead,
}

/// A request that no provider sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgery {
    BodyChanged,
    OtherSecret,
    EmptySecret,
    Placeholder,
    SignatureMissing,
    SignatureEmpty,
    SignatureChanged,
    SignatureTruncated,
    /// The header ends where the signature begins.
    SignatureCutOff,
    SignatureRepeated,
    SignatureRespelled,
    SignatureJunk,
    OtherVersion,
    /// A header without which there is no message.
    FieldMissing,
    FieldRepeated,
    SignedIdChanged,
    TooOld,
    TooFarAhead,
    TimestampJunk,
    TimestampOverflow,
    TimestampRespelled,
}

/// How an event is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    SameBytes,
    /// The provider signs the retry anew.
    SignedAnew,
    /// The bytes are equal, and an id that the signature does not cover differs.
    OtherUnsignedId,
    /// All copies are sent at once.
    AtOnce,
}

/// The responses of a safe receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Accepted,
    Refused,
    /// The event runs once. Later copies are acknowledged or refused.
    RunOnce,
    /// The first delivery fails, and the retry runs.
    RunAgain,
    /// At most one of the requests is accepted.
    AtMostOne,
}

impl Probe {
    pub(super) fn expected(self) -> Expected {
        match self {
            Self::Genuine(_) => Expected::Accepted,
            Self::Forged(_) => Expected::Refused,
            Self::Repeated(_) | Self::LostAnswer => Expected::RunOnce,
            Self::RetryAfterFailure => Expected::RunAgain,
            Self::TwoDivisions => Expected::AtMostOne,
        }
    }
}

impl Expected {
    /// Returns the number of runs of each event. `None` if the status alone decides.
    pub(super) fn runs(self) -> Option<u64> {
        match self {
            Self::Accepted | Self::RunOnce => Some(1),
            Self::Refused => Some(0),
            // The application counts the run that failed, too.
            Self::RunAgain => Some(2),
            Self::AtMostOne => None,
        }
    }

    /// Describes the responses.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Accepted => "2xx, one run",
            Self::Refused => "4xx, no run",
            Self::RunOnce => "2xx or 4xx, one run",
            Self::RunAgain => "5xx, then 2xx",
            Self::AtMostOne => "2xx at most once",
        }
    }
}
