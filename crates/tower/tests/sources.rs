//! Which source a request belongs to, and that it is the one of this moment.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use tower_hookgate::{
    BoxError, HookgateLayer, LiveSource, Resolve, Source, Sources, VerifiedBody, VerifiedEvent,
};

use self::support::{
    BODY, Calls, OTHER_SECRET, SECRET, Step, Steps, signed, signed_with, source, source_with,
    status,
};

type Answer = Response<Full<Bytes>>;

/// Counts its calls, and says in a header whose event it got.
fn counting(
    calls: &Calls,
) -> impl Service<Request<VerifiedBody>, Response = Answer, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |request: Request<VerifiedBody>| {
        calls.begin();
        let event = request.extensions().get::<VerifiedEvent>().unwrap();
        let mut response = Answer::default();
        let tenant = event.tenant().unwrap_or("none").parse().unwrap();
        response.headers_mut().insert("x-tenant", tenant);
        ready(Ok(response))
    })
}

fn at(path: &str, secret: &str) -> Request<Full<Bytes>> {
    let mut request = signed_with(secret, BODY, Full::from(BODY));
    *request.uri_mut() = path.parse().unwrap();
    request
}

#[tokio::test]
async fn tenants_have_their_own_secrets_and_their_own_events() {
    let tenant = |name: &str, secret| Arc::new(source_with(secret).tenant(name).build());
    let (acme, umbrella) = (tenant("acme", SECRET), tenant("umbrella", OTHER_SECRET));
    let resolver = move |head: &request::Parts| {
        ready(match head.uri.path() {
            "/acme" => Ok(Some(Arc::clone(&acme))),
            "/umbrella" => Ok(Some(Arc::clone(&umbrella))),
            "/broken" => Err(BoxError::from("the database is down")),
            _ => Ok(None),
        })
    };
    let calls = Calls::default();
    let service = HookgateLayer::resolving(resolver).layer(counting(&calls));
    for (path, secret, expected, begun) in [
        ("/acme", OTHER_SECRET, 401, 0),
        ("/umbrella", SECRET, 401, 0),
        ("/initech", SECRET, 404, 0),
        ("/broken", SECRET, 503, 0),
        ("/acme", SECRET, 200, 1),
        // The same id, of somebody else.
        ("/umbrella", OTHER_SECRET, 200, 2),
        ("/umbrella", OTHER_SECRET, 200, 2),
        ("/acme", SECRET, 200, 2),
    ] {
        let found = status(&service, at(path, secret)).await;
        assert_eq!((found.as_u16(), calls.begun()), (expected, begun), "{path}");
    }
}

#[tokio::test]
async fn paths_are_matched_to_the_letter() {
    let sources = Sources::new()
        .at("/hooks", source())
        .at("/other", source_with(OTHER_SECRET).tenant("other").build());
    let calls = Calls::default();
    let service = HookgateLayer::resolving(sources).layer(counting(&calls));
    for path in [
        "/",
        "//hooks",
        "/hooks/",
        "/Hooks",
        "/%68ooks",
        "/hooks;x",
        "/x/../hooks",
    ] {
        let found = status(&service, at(path, SECRET)).await;
        assert_eq!(found, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        status(&service, at("/other", SECRET)).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(calls.begun(), 0);
    assert_eq!(
        status(&service, at("/hooks?x=1", SECRET)).await,
        StatusCode::OK
    );
    assert_eq!(
        status(&service, at("/other", OTHER_SECRET)).await,
        StatusCode::OK
    );
    assert_eq!(calls.begun(), 2);
}

#[tokio::test]
async fn a_key_that_is_replaced_stops_at_once_and_what_was_delivered_stays_known() {
    let live = LiveSource::new(source());
    let calls = Calls::default();
    let service = HookgateLayer::new(live.clone()).layer(counting(&calls));
    assert_eq!(status(&service, signed(BODY)).await, StatusCode::OK);
    live.replace(source_with(OTHER_SECRET).build());
    assert_eq!(
        status(&service, signed(BODY)).await,
        StatusCode::UNAUTHORIZED
    );
    let known = at("/hooks", OTHER_SECRET);
    assert_eq!(status(&service, known).await, StatusCode::OK);
    assert_eq!(calls.begun(), 1, "it was a duplicate");
    const NEW: &str = r#"{"id":"evt_2","event":"task.succeeded"}"#;
    let new = signed_with(OTHER_SECRET, NEW, Full::<Bytes>::from(NEW));
    assert_eq!(status(&service, new).await, StatusCode::OK);
    assert_eq!(calls.begun(), 2);
}

/// A delivery under `secret` whose body waits while the source is replaced by one
/// with the other secret.
async fn replaced_meanwhile<V: Resolve>(
    live: &LiveSource,
    resolver: V,
    secret: &str,
) -> (StatusCode, usize) {
    let calls = Calls::default();
    let service = HookgateLayer::resolving(resolver).layer(counting(&calls));
    let (start, rest) = BODY.as_bytes().split_at(5);
    let pause = Step::Sleep(std::time::Duration::from_secs(1));
    let body = Steps::of([Step::Chunk(start), pause, Step::Chunk(rest)]);
    let request = signed_with(secret, BODY, body);
    let delivery = tokio::spawn(async move { status(&service, request).await });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    live.replace(source_with(OTHER_SECRET).build());
    (delivery.await.unwrap(), calls.begun())
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_replaced_stops_for_bodies_under_way() {
    let live = LiveSource::new(source());
    let found = replaced_meanwhile(&live, live.clone(), SECRET).await;
    // It may be signed for what the source is by now: the retry will tell.
    assert_eq!(found, (StatusCode::SERVICE_UNAVAILABLE, 0));

    // The control: a resolver that does not say that something has changed.
    let live = LiveSource::new(source());
    let forgetful = live.clone();
    let forgetful = move |_: &request::Parts| ready(Ok(Some(forgetful.current())));
    let found = replaced_meanwhile(&live, forgetful, SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}

#[tokio::test(start_paused = true)]
async fn what_an_observing_source_has_let_in_is_decided_by_the_one_after_it() {
    // Unsigned for the source that enforces by now.
    let live = LiveSource::new(source_with(SECRET).with_insecure_observe_mode().build());
    let found = replaced_meanwhile(&live, live.clone(), SECRET).await;
    assert_eq!(found, (StatusCode::SERVICE_UNAVAILABLE, 0));
    // Signed for it, though not for the one before: it is delivered, and claimed.
    let live = LiveSource::new(source_with(SECRET).with_insecure_observe_mode().build());
    let found = replaced_meanwhile(&live, live.clone(), OTHER_SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_under_way_passes_when_its_key_stays() {
    let both = || -> Source {
        let provider = support::beatapi();
        let verifier = tower_hookgate::Verifier::builder(provider.scheme())
            .key(tower_hookgate::Secret::new(SECRET).unwrap())
            .key(tower_hookgate::Secret::new(OTHER_SECRET).unwrap())
            .build()
            .unwrap();
        Source::builder("beatapi", verifier)
            .provider(&provider)
            .build()
    };
    let live = LiveSource::new(both());
    let found = replaced_meanwhile(&live, live.clone(), OTHER_SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}
