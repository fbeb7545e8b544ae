//! Limits how many wrong tokens a client network may try.
//!
//! A network above the limit is refused, its right tokens included: a guess must not show whether
//! it was right. Two exceptions keep access for users with the address of a guesser, such as that
//! of a reverse proxy. A token that was right from this network before stays accepted. A wrong token
//! that is sent again, such as that of a script after a rotation, is no new guess.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hookgate_core::internal::client_network;
use http::StatusCode;
use parking_lot::Mutex;

use crate::admin::problem::Problem;
use crate::config::TokenDigest;

/// Maximum number of wrong tokens from one network within [`INTERVAL`].
const MAX_GUESSES: usize = 10;
const INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of guesses that are remembered, from all networks.
const MAX_REMEMBERED: usize = 4096;
/// Maximum number of right tokens that are remembered, each with a network.
const MAX_TRUSTED: usize = 1024;

/// The wrong tokens of the last minute, and the right ones.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The oldest guess first.
    wrong: VecDeque<Guess>,
    right: HashSet<(Option<IpAddr>, TokenDigest)>,
}

#[derive(Debug)]
struct Guess {
    at: Instant,
    network: Option<IpAddr>,
    token: TokenDigest,
}

impl Guesses {
    /// Counts a wrong token.
    ///
    /// # Errors
    ///
    /// Returns 429 if the network of the client has sent too many wrong tokens.
    pub(super) fn check(
        &self,
        client: Option<IpAddr>,
        token: &TokenDigest,
        is_right: bool,
        now: Instant,
    ) -> Result<(), Problem> {
        let network = client.map(client_network);
        let state = &mut *self.0.lock();
        while let Some(oldest) = state.wrong.front()
            && (now.duration_since(oldest.at) >= INTERVAL || state.wrong.len() >= MAX_REMEMBERED)
        {
            state.wrong.pop_front();
        }
        let from_network = || state.wrong.iter().filter(|guess| guess.network == network);
        let is_known = match is_right {
            true => state.right.contains(&(network, token.clone())),
            false => from_network().any(|guess| guess.token == *token),
        };
        if is_known {
            return Ok(());
        }
        if from_network().count() >= MAX_GUESSES {
            let oldest = from_network().next().map_or(now, |guess| guess.at);
            let delay = INTERVAL.saturating_sub(now.duration_since(oldest));
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens from this address; wait, and check the token",
            )
            .retry_after(delay));
        }
        match is_right {
            true => {
                if state.right.len() >= MAX_TRUSTED {
                    state.right.clear();
                }
                state.right.insert((network, token.clone()));
            }
            false => state.wrong.push_back(Guess {
                at: now,
                network,
                token: token.clone(),
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "the right token";

    /// Sends tokens from `client`, and returns how many of them are checked.
    fn checked(guesses: &Guesses, client: &str, tokens: &[&str], now: Instant) -> usize {
        let client = client.parse().ok();
        let is_checked = |token: &&&str| {
            let digest = TokenDigest::of(token.as_bytes());
            let checked = guesses.check(client, &digest, **token == RIGHT, now);
            checked.is_ok()
        };
        tokens.iter().filter(is_checked).count()
    }

    fn flood(guesses: &Guesses, client: &str, count: usize, now: Instant) -> usize {
        let tokens: Vec<_> = (0..count).map(|n| format!("guess {n}")).collect();
        let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
        checked(guesses, client, &tokens, now)
    }

    #[test]
    fn a_network_may_guess_ten_times_a_minute() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        assert_eq!(flood(&guesses, "192.0.2.1", 1000, start), MAX_GUESSES);
        // A right guess above the limit is not recognised.
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], start), 0);
        let later = start + INTERVAL;
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], later), 1);
        assert_eq!(flood(&guesses, "2001:db8::1", 20, later), MAX_GUESSES);
        assert_eq!(checked(&guesses, "2001:db8::2", &["another"], later), 0);
    }

    #[test]
    fn guesses_from_many_networks_keep_no_other_network_out() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for network in 0..5000 {
            let client = format!("2001:db8:0:{network:x}::1");
            flood(&guesses, &client, 11, now);
        }
        assert!(guesses.0.lock().wrong.len() <= MAX_REMEMBERED);
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], now), 1);
    }

    #[test]
    fn a_user_of_the_network_keeps_access() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], now), 1);
        assert_eq!(flood(&guesses, "192.0.2.1", 100, now), MAX_GUESSES);
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], now), 1);
    }

    #[test]
    fn the_same_wrong_token_is_one_guess() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(checked(&guesses, "192.0.2.1", &["old token"; 50], now), 50);
        assert_eq!(checked(&guesses, "192.0.2.1", &[RIGHT], now), 1);
    }
}
