//! Classifies the response that a server sends before it has read the whole request.

use crate::limits::MAX_RESPONSE_HEAD;
use crate::scan::find_head_end;

/// Kind of response that a server has sent before it read the whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyResponse {
    /// No response yet, or interim responses only.
    None,
    /// A final response with a status of 2xx.
    Success,
    /// Another final response, or bytes that are not HTTP.
    Refusal,
}

impl EarlyResponse {
    /// Classifies the bytes that were received so far.
    pub(crate) fn classify(mut received: &[u8]) -> Self {
        const PREFIX: &[u8] = b"HTTP/1.";
        loop {
            match received {
                _ if received.len() > MAX_RESPONSE_HEAD => return Self::Refusal,
                [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', class, ..] => match class {
                    b'1' => match find_head_end(received, 0) {
                        Some(end) => received = &received[end..],
                        None => return Self::None,
                    },
                    b'2' => return Self::Success,
                    _ => return Self::Refusal,
                },
                _ if received.len() < 10 && received.iter().zip(PREFIX).all(|(a, b)| a == b) => {
                    return Self::None;
                }
                _ => return Self::Refusal,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_response_is_classified_by_its_final_status() {
        for (received, expected) in [
            ("", EarlyResponse::None),
            ("HT", EarlyResponse::None),
            ("HTTP/1.1 ", EarlyResponse::None),
            ("HTTP/1.1 100", EarlyResponse::None),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
                EarlyResponse::None,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2",
                EarlyResponse::Success,
            ),
            ("HTTP/1.0 204", EarlyResponse::Success),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413",
                EarlyResponse::Refusal,
            ),
            ("HTTP/1.1 307", EarlyResponse::Refusal),
            ("SSH", EarlyResponse::Refusal),
            ("HTTP/1.1x2", EarlyResponse::Refusal),
            ("HTTP/2.0 200", EarlyResponse::Refusal),
        ] {
            assert_eq!(
                EarlyResponse::classify(received.as_bytes()),
                expected,
                "{received}"
            );
        }
    }

    #[test]
    fn interim_responses_have_a_limit() {
        let interim = |len: usize| {
            let start = "HTTP/1.1 103 Early Hints\r\nLink: ";
            format!("{start}{}", "a".repeat(len - start.len()))
        };
        for (len, expected) in [
            (MAX_RESPONSE_HEAD, EarlyResponse::None),
            (MAX_RESPONSE_HEAD + 1, EarlyResponse::Refusal),
        ] {
            let received = interim(len);
            assert_eq!(
                EarlyResponse::classify(received.as_bytes()),
                expected,
                "{len}"
            );
        }
    }
}
