//! The cache, the budget and the pins of a fetcher, with a clock that the tests set.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate_core::{FetchedKey, KeyReference, UnixTime, VerifyError};
use hookgate_keys::{DocumentRequest, FetchError, KeyFetcher, KeySettings};
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde_json::json;

use crate::support::{ALL_KEYS, NAMED, NOW, ONE_KEY, Provider, down, jwk, jwks, missing, scheme};

const CLIENT: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));

fn at(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}

fn reference(id: &str) -> KeyReference {
    KeyReference::new(Some(id), None)
}

async fn key(fetcher: &KeyFetcher, id: &str, now: UnixTime) -> Result<String, VerifyError> {
    let found = fetcher.key(&reference(id), CLIENT, now).await;
    found.map(|key: FetchedKey| key.id().to_owned())
}

#[tokio::test]
async fn a_document_is_fetched_once_and_serves_until_its_age() {
    let provider = Provider::new(|_| Ok(jwks(&["a", "b"])));
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    for (id, seconds) in [("a", 0), ("b", 1), ("a", 2000), ("b", 2600)] {
        assert_eq!(key(&fetcher, id, at(seconds)).await.as_deref(), Ok(id));
    }
    assert_eq!(provider.count(), 1);
    // Three quarters of the hour: the next document is fetched while the key is used.
    assert!(key(&fetcher, "a", at(2700)).await.is_ok());
    while !fetcher.stats(NOW).fetches.contains(&("success", 2)) {
        tokio::task::yield_now().await;
    }
    // The control: after the age, a delivery waits for the new document.
    provider.answer(|_| Ok(jwks(&["b"])));
    let removed = key(&fetcher, "a", at(2700 + 3600)).await;
    assert_eq!(removed, Err(VerifyError::KeyUnknown));
    assert_eq!(provider.count(), 3);
}

/// A clock that was ahead when the keys arrived must not keep them for longer.
#[tokio::test]
async fn keys_are_fetched_again_after_the_clock_was_set_back() {
    let provider = Provider::new(|_| Ok(jwks(&["a"])));
    for (ahead, requests) in [(365 * 86_400, 2), (120, 2), (59, 1), (0, 1)] {
        let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        provider.answer(|_| Ok(jwks(&["a"])));
        let before = provider.count();
        assert!(key(&fetcher, "a", at(ahead)).await.is_ok());
        assert!(key(&fetcher, "a", NOW).await.is_ok());
        assert_eq!(provider.count() - before, requests, "{ahead}");
        assert!(key(&fetcher, "a", at(1)).await.is_ok());
        assert_eq!(provider.count() - before, requests, "{ahead}");
        // In an outage, the last good key counts nevertheless.
        let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        assert!(key(&fetcher, "a", at(ahead)).await.is_ok());
        provider.answer(|_| down());
        assert!(key(&fetcher, "a", NOW).await.is_ok());
        assert!(key(&fetcher, "a", at(1)).await.is_ok());
    }
}

#[tokio::test]
async fn a_document_states_its_age_within_bounds() {
    for (stated, seconds, fetches) in [(120, 89, 1), (120, 121, 2), (0, 44, 1), (0, 61, 2)] {
        let provider = Provider::new(|_| Ok(jwks(&["a"])));
        provider.set_max_age(Duration::from_secs(stated));
        let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        for seconds in [0, seconds] {
            assert!(key(&fetcher, "a", at(seconds)).await.is_ok());
        }
        assert_eq!(provider.count(), fetches, "{stated} s, after {seconds} s");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_refreshes_a_document_once_a_minute() {
    let provider = Provider::new(|_| Ok(jwks(&["old"])));
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    assert!(key(&fetcher, "old", NOW).await.is_ok());
    let mut rotated = None;
    for number in 0..10_000_u32 {
        // The flood lasts 300 s. The provider begins to use another key after 100 s.
        let now = NOW.plus(Duration::from_millis(u64::from(number) * 30));
        if number == 3334 {
            provider.answer(|_| Ok(jwks(&["old", "new"])));
        }
        let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
        let hostile = reference(&format!("hostile-{number}"));
        let refused = fetcher.key(&hostile, Some(client), now).await;
        assert_eq!(refused.unwrap_err(), VerifyError::KeyUnknown);
        if number >= 3334 && rotated.is_none() && key(&fetcher, "new", now).await.is_ok() {
            rotated = Some(u64::from(number - 3334) * 30);
        }
        assert!(key(&fetcher, "old", now).await.is_ok(), "{number}");
    }
    assert!(rotated.is_some_and(|after| after <= 60_000), "{rotated:?}");
    assert!((5..=7).contains(&provider.count()), "{}", provider.count());
    let hosts = provider.requests();
    assert!(
        hosts
            .iter()
            .all(|request| request.address.host() == "keys.example.com")
    );
}

#[tokio::test]
async fn a_flood_of_keys_with_documents_of_their_own_keeps_within_the_budget() {
    let provider = Provider::new(|request| match request.address.path() {
        "/keys/old" => Ok(json!({ "key": jwk("old") }).to_string().into()),
        "/keys/new" => Ok(json!({ "key": jwk("new") }).to_string().into()),
        _ => missing(),
    });
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    assert!(key(&fetcher, "old", NOW).await.is_ok());
    fetcher.claimed(CLIENT);
    let mut known = 0;
    for number in 0..10_000_u32 {
        // The flood lasts 100 s, from as many addresses as references.
        let now = NOW.plus(Duration::from_millis(u64::from(number) * 10));
        let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
        let hostile = reference(&format!("hostile-{number}"));
        assert!(fetcher.key(&hostile, Some(client), now).await.is_err());
        if number == 5000 {
            // The genuine sender begins to use a key in the middle of the flood.
            assert_eq!(key(&fetcher, "new", now).await.as_deref(), Ok("new"));
            // The control: the same key from a network that never sent a delivery.
            let fresh = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
            for number in 0..1000 {
                let client = IpAddr::from(Ipv4Addr::from(0x0b00_0000 + number));
                let hostile = reference(&format!("hostile-{number}"));
                _ = fresh.key(&hostile, Some(client), now).await;
            }
            let refused = fresh.key(&reference("new"), CLIENT, now).await;
            assert_eq!(refused.unwrap_err(), VerifyError::KeyUnavailable);
        }
        known += usize::from(key(&fetcher, "old", now).await.is_ok());
    }
    assert_eq!(known, 10_000);
    // Two calendar minutes of 30 requests for unproven networks, and the genuine ones; the
    // control had 30 more.
    assert!(
        (60..=2 + 2 * 30 + 30).contains(&provider.count()),
        "{}",
        provider.count()
    );
}

/// A sender that names many keys is no outage of the provider, for which an operator is paged.
#[tokio::test]
async fn a_network_that_has_spent_its_share_gets_an_unknown_key() {
    let provider = Provider::new(|_| down());
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    for (number, expected) in [
        (4, VerifyError::KeyUnavailable),
        (5, VerifyError::KeyUnknown),
        // The control: a key that failed before is still unavailable.
        (0, VerifyError::KeyUnavailable),
    ] {
        for number in 0..=number {
            _ = key(&fetcher, &number.to_string(), NOW).await;
        }
        let found = key(&fetcher, &number.to_string(), NOW).await;
        assert_eq!(found, Err(expected), "{number}");
    }
    assert_eq!(provider.count(), 5);
}

#[tokio::test]
async fn documents_that_failed_are_asked_for_again_within_the_budget() {
    let provider = Provider::new(|_| down());
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    for minute in 0..6 {
        let before = provider.count();
        for number in 0..200_u32 {
            let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
            let hostile = reference(&format!("hostile-{number}"));
            let found = fetcher.key(&hostile, Some(client), at(minute * 60)).await;
            assert_eq!(found.unwrap_err(), VerifyError::KeyUnavailable);
        }
        assert_eq!(provider.count() - before, 30, "minute {minute}");
    }
}

#[tokio::test]
async fn a_missing_key_is_asked_for_once_a_minute() {
    let provider = Provider::new(|_| missing());
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    for seconds in 0..59 {
        let found = key(&fetcher, "a", at(seconds)).await;
        assert_eq!(found, Err(VerifyError::KeyUnknown));
    }
    assert_eq!(provider.count(), 1);
    provider.answer(|_| Ok(json!({ "key": jwk("a") }).to_string().into()));
    assert_eq!(key(&fetcher, "a", at(60)).await.as_deref(), Ok("a"));
}

#[tokio::test]
async fn an_outage_refuses_nothing_that_verified_before() {
    for text in [ALL_KEYS, ONE_KEY] {
        let document = move || match text {
            ALL_KEYS => jwks(&["a"]),
            _ => json!({ "key": jwk("a") }).to_string().into(),
        };
        let provider = Provider::new(move |_| Ok(document()));
        let fetcher = provider.fetcher(&scheme(text), KeySettings::default());
        assert!(key(&fetcher, "a", NOW).await.is_ok());
        for answer in [down, missing] {
            provider.answer(move |_| answer());
            for minutes in 0..24 * 60 {
                assert!(
                    key(&fetcher, "a", at(minutes * 60)).await.is_ok(),
                    "{minutes}"
                );
            }
        }
        // A key that is not in memory cannot be had: 503, not 401.
        provider.answer(|_| down());
        let other = key(&fetcher, "b", at(24 * 3600)).await;
        assert_eq!(other, Err(VerifyError::KeyUnavailable));
        // The control: the keys of an outage do not count for ever.
        let days = 24 * 3600;
        assert!(key(&fetcher, "a", at(7 * days - 1)).await.is_ok());
        let late = key(&fetcher, "a", at(7 * days)).await;
        assert_eq!(late, Err(VerifyError::KeyUnavailable));
        // When the host is back, the next delivery verifies.
        provider.answer(move |_| Ok(document()));
        assert!(key(&fetcher, "a", at(7 * days + 60)).await.is_ok());
    }
}

#[tokio::test]
async fn failures_back_off_from_five_seconds_to_a_minute() {
    let provider = Provider::new(|_| down());
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    let mut times = Vec::new();
    for seconds in 0..200 {
        let before = provider.count();
        assert_eq!(
            key(&fetcher, "a", at(seconds)).await,
            Err(VerifyError::KeyUnavailable)
        );
        if provider.count() > before {
            times.push(seconds);
        }
    }
    assert_eq!(times, [0, 5, 15, 35, 75, 135, 195]);
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_need_one_document_share_one_request() {
    let provider = Provider::new(|_| Ok(jwks(&["a"])));
    provider.set_delay(Duration::from_secs(1));
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let fetcher = fetcher.clone();
        waiting.spawn(async move { key(&fetcher, "a", NOW).await });
    }
    // A delivery whose sender hangs up does not cancel the request of the others.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let first = fetcher.clone();
    let hung_up = tokio::spawn(async move { key(&first, "a", NOW).await });
    hung_up.abort();
    while let Some(found) = waiting.join_next().await {
        assert_eq!(found.unwrap().as_deref(), Ok("a"));
    }
    assert_eq!(provider.count(), 1);
    assert_eq!(provider.most_under_way.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_costs_a_delivery_the_time_limit_at_most() {
    let provider = Provider::new(|_| Ok(jwks(&["a"])));
    provider.set_delay(Duration::from_secs(3600));
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    let start = tokio::time::Instant::now();
    assert_eq!(
        key(&fetcher, "a", NOW).await,
        Err(VerifyError::KeyUnavailable)
    );
    assert_eq!(
        start.elapsed().as_secs(),
        KeySettings::DEFAULT_TIMEOUT.as_secs()
    );
    // During the backoff, nothing waits.
    let start = tokio::time::Instant::now();
    assert_eq!(
        key(&fetcher, "a", at(1)).await,
        Err(VerifyError::KeyUnavailable)
    );
    assert!(start.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_waits_refuses_nothing_that_verified_before() {
    let provider = Provider::new(|_| Ok(jwks(&["a"])));
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    assert!(key(&fetcher, "a", NOW).await.is_ok());
    // The document is stale and its host is slow, so every delivery waits for the next one.
    provider.set_delay(Duration::from_secs(2));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..1000_u32 {
        let fetcher = fetcher.clone();
        let id = format!("hostile-{number}");
        flood.spawn(async move { key(&fetcher, &id, at(3600)).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(key(&fetcher, "a", at(3600)).await.as_deref(), Ok("a"));
    // The control: one more unknown key cannot wait.
    let refused = key(&fetcher, "hostile", at(3600)).await;
    assert_eq!(refused, Err(VerifyError::KeyUnavailable));
    while let Some(refused) = flood.join_next().await {
        assert_eq!(refused.unwrap(), Err(VerifyError::KeyUnknown));
    }
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn a_list_of_keys_at_an_address_of_the_senders_choice_keeps_within_the_budget() {
    let provider = Provider::new(|_| missing());
    let settings = KeySettings::default().url("https://keys.example.com/{key}/jwks.json");
    let fetcher = provider.fetcher(&scheme(ALL_KEYS), settings);
    for number in 0..200_u32 {
        let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
        let hostile = reference(&format!("hostile-{number}"));
        assert!(fetcher.key(&hostile, Some(client), NOW).await.is_err());
    }
    assert_eq!(provider.count(), 30);
}

#[tokio::test]
async fn a_reload_keeps_the_share_of_proven_clients() {
    for is_reload in [true, false] {
        let provider = Provider::new(|_| missing());
        let old = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
        old.claimed(CLIENT);
        let new = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
        if is_reload {
            new.inherit(&old);
        }
        for number in 0..200_u32 {
            let client = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
            let hostile = reference(&format!("hostile-{number}"));
            assert!(new.key(&hostile, Some(client), NOW).await.is_err());
        }
        provider.answer(|_| Ok(json!({ "key": jwk("new") }).to_string().into()));
        // The control: a new fetcher knows no proven client.
        let found = key(&new, "new", NOW).await;
        assert_eq!(found.is_ok(), is_reload, "{found:?}");
    }
}

#[tokio::test]
async fn an_access_token_that_the_provider_has_revoked_is_replaced() {
    let token = r#"id = "jose:kid", token = { url = "https://auth.example.com/token" } }"#;
    let text = ONE_KEY.replace(r#"id = "jose:kid" }"#, token);
    let provide = |valid: &'static str| {
        move |request: &DocumentRequest| match request.address.host() {
            "auth.example.com" => Ok(json!({ "access_token": valid, "expires_in": 7200 })
                .to_string()
                .into()),
            _ if request.headers[AUTHORIZATION] == *format!("Bearer {valid}") => {
                Ok(json!({ "key": jwk("a") }).to_string().into())
            }
            _ => Err(FetchError::Status(StatusCode::UNAUTHORIZED)),
        }
    };
    let provider = Provider::new(provide("first"));
    let settings = KeySettings::default();
    let settings = settings
        .credential("client_id", "i")
        .credential("client_secret", "s");
    let fetcher = provider.fetcher(&scheme(&text), settings);
    assert_eq!(key(&fetcher, "a", NOW).await.as_deref(), Ok("a"));
    provider.answer(provide("second"));
    let refused = key(&fetcher, "b", at(1)).await;
    assert_eq!(refused, Err(VerifyError::KeyUnavailable));
    assert_eq!(key(&fetcher, "a", at(3600)).await.as_deref(), Ok("a"));
    let tokens = || {
        provider
            .requests()
            .iter()
            .filter(|r| r.address.path() == "/token")
            .count()
    };
    assert_eq!(tokens(), 2);
    // The control: a token that counts is used again.
    provider.answer(provide("second"));
    assert!(key(&fetcher, "a", at(7200)).await.is_ok());
    assert_eq!(tokens(), 2);
}

#[tokio::test]
async fn a_hostile_reference_causes_no_request() {
    let provider = Provider::new(|_| down());
    let fetcher = provider.fetcher(&scheme(NAMED), KeySettings::default());
    let hosts = [
        "evil.test",
        "keys.example.com.evil.test",
        "keys.example.com@evil.test",
        "evil.test#keys.example.com",
        "evil.test?keys.example.com",
        "evil.test\\keys.example.com",
        "keys.example.com.",
        "keys.example.com:443",
        "keys.example.com:8080",
        "KEYS.example.com",
        "keys.a.b.example.com",
        "keys..example.com",
        "keys%2eexample.com",
        "127.0.0.1",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "localhost",
        "keys.example.com%00.evil.test",
        "user:password@keys.example.com",
        "",
    ];
    let paths = [
        "/certs/a.pem",
        "/certs/../a.pem",
        "/certs/%2e%2e/a.pem",
        "/a.pem",
        "/certs/a.pem/",
        "/certs/a.pem?b",
        "/certs/a.pem#b",
        "/certs/a/b.pem",
        "//certs/a.pem",
        "\\certs\\a.pem",
        "/certs/.pem",
        "",
    ];
    let mut hostile = Vec::new();
    for scheme in [
        "https://",
        "http://",
        "HTTPS://",
        "ftp://",
        "//",
        "https:",
        "https:\\\\",
        "",
    ] {
        for host in hosts.iter().chain(&["keys.example.com"]) {
            for path in paths {
                hostile.push(format!("{scheme}{host}{path}"));
            }
        }
    }
    let good = "https://keys.example.com/certs/a.pem";
    hostile.retain(|text| text != good);
    // Numbers in hosts and paths fill the list up.
    for number in hostile.len()..10_000 {
        hostile.push(format!("https://{number}.evil.test/certs/{number}.pem"));
    }
    assert_eq!(hostile.len(), 10_000);
    for text in &hostile {
        let found = fetcher
            .key(&KeyReference::new(None, Some(text)), CLIENT, NOW)
            .await;
        assert_eq!(
            found.unwrap_err(),
            VerifyError::KeyReferenceRefused,
            "{text}"
        );
    }
    assert_eq!(provider.count(), 0);
    // The control: a reference inside of the pins is asked for.
    for text in [good, "https://keys.eu-1.example.com/certs/a-1.pem"] {
        let found = fetcher
            .key(&KeyReference::new(None, Some(text)), CLIENT, NOW)
            .await;
        assert_eq!(found.unwrap_err(), VerifyError::KeyUnavailable);
    }
    assert_eq!(provider.count(), 2);
}

#[tokio::test]
async fn an_id_that_could_change_an_address_causes_no_request() {
    let provider = Provider::new(|_| missing());
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    let long = "a".repeat(129);
    for id in [
        "..", ".", "a/b", "../a", "a?b", "a#b", "a%2fb", "a\\b", "a@b", "é", &long,
    ] {
        assert_eq!(
            key(&fetcher, id, NOW).await,
            Err(VerifyError::KeyReferenceRefused),
            "{id}"
        );
    }
    assert_eq!(provider.count(), 0);
    assert_eq!(
        key(&fetcher, "a-1._B", NOW).await,
        Err(VerifyError::KeyUnknown)
    );
    assert_eq!(provider.requests()[0].address.path(), "/keys/a-1._B");
}

#[tokio::test]
async fn a_bad_document_is_refused_and_the_last_good_keys_stay() {
    let many: Vec<_> = (0..10_000)
        .map(|number| json!({ "kid": number.to_string() }))
        .collect();
    let bad = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#.to_owned(),
        r#"{"keys":[{"kty":"oct","kid":"a","k":"AQAB"}]}"#.to_owned(),
        json!({ "keys": many }).to_string(),
        // Two keys of one id.
        json!({ "keys": [jwk("a"), jwk("a")] }).to_string(),
        " ".repeat(1024 * 1024 + 1),
        "[".repeat(100_000),
    ];
    for document in bad {
        let provider = Provider::new(|_| Ok(jwks(&["a"])));
        let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        assert!(key(&fetcher, "a", NOW).await.is_ok());
        let shown: String = document.chars().take(60).collect();
        provider.answer(move |_| Ok(document.clone().into()));
        assert!(key(&fetcher, "a", at(3600)).await.is_ok(), "{shown}");
        let fresh = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        let refused = key(&fresh, "a", NOW).await;
        assert_eq!(refused, Err(VerifyError::KeyUnavailable), "{shown}");
        let stats = fresh.stats(NOW);
        assert!(
            stats.fetches.contains(&("malformed", 1)),
            "{shown}: {stats:?}"
        );
    }
}

#[tokio::test]
async fn a_key_may_be_listed_twice_and_an_id_of_two_keys_is_ambiguous() {
    let (one, other) = (jwk("a"), jwk("a"));
    for (keys, expected) in [
        (json!([one, one]), Ok("a")),
        (json!([one, jwk("b"), one]), Ok("a")),
        (json!([one, jwk("b"), other]), Err(VerifyError::KeyUnknown)),
    ] {
        let document = json!({ "keys": keys }).to_string();
        let provider = Provider::new(move |_| Ok(document.clone().into()));
        let fetcher = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
        let found = key(&fetcher, "a", NOW).await;
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{keys}");
    }
}

#[tokio::test]
async fn the_number_of_documents_in_memory_is_bounded() {
    let provider = Provider::new(|request| {
        let id = request.address.path().trim_start_matches("/keys/");
        Ok(json!({ "key": jwk(id) }).to_string().into())
    });
    let fetcher = provider.fetcher(&scheme(ONE_KEY), KeySettings::default());
    for number in 0..1100_u32 {
        // Each client network has five requests in a minute.
        let client = IpAddr::from(Ipv4Addr::from(number / 5));
        fetcher.claimed(Some(client));
        let now = at(u64::from(number) * 2);
        let found = fetcher
            .key(&reference(&number.to_string()), Some(client), now)
            .await;
        assert!(found.is_ok(), "{number}");
    }
    assert_eq!(fetcher.stats(at(2200)).keys, 1000);
}

#[tokio::test]
async fn a_reload_keeps_the_documents_of_equal_settings_alone() {
    let provider = Provider::new(|_| Ok(jwks(&["a"])));
    let old = provider.fetcher(&scheme(ALL_KEYS), KeySettings::default());
    assert!(key(&old, "a", NOW).await.is_ok());
    provider.answer(|_| down());
    let other = KeySettings::default().url("https://other.example.com/");
    for (settings, expected) in [
        (KeySettings::default(), Ok("a")),
        (other, Err(VerifyError::KeyUnavailable)),
    ] {
        let new = provider.fetcher(&scheme(ALL_KEYS), settings);
        new.inherit(&old);
        let found = key(&new, "a", at(1)).await;
        assert_eq!(found.as_deref().map_err(|error| *error), expected);
    }
}
