//! Tests of the lookup of sources, and of sources that are replaced while requests run.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_hookgate::{
    BoxError, Clock, HookgateLayer, LiveSource, Provider, Resolve, Secret, Signer, Source, Sources,
    SystemClock, VerifiedBody, VerifiedEvent, Verifier,
};

use self::support::{
    BODY, Calls, OTHER_SECRET, SECRET, Step, Steps, signed, signed_with, source, source_with,
    status, text,
};

type HandlerResponse = Response<Full<Bytes>>;

/// Returns a service that counts its calls and names the tenant of the event in a header.
fn counting(
    calls: &Calls,
) -> impl Service<Request<VerifiedBody>, Response = HandlerResponse, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = calls.clone();
    service_fn(move |request: Request<VerifiedBody>| {
        calls.begin();
        let event = request.extensions().get::<VerifiedEvent>().unwrap();
        let mut response = HandlerResponse::default();
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
async fn each_tenant_has_its_own_secret_and_its_own_events() {
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
        // The same event id, of another tenant.
        ("/umbrella", OTHER_SECRET, 200, 2),
        ("/umbrella", OTHER_SECRET, 200, 2),
        ("/acme", SECRET, 200, 2),
    ] {
        let found = status(&service, at(path, secret)).await;
        assert_eq!((found.as_u16(), calls.begun()), (expected, begun), "{path}");
    }
}

#[tokio::test]
async fn a_path_must_match_exactly() {
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
async fn a_replaced_key_stops_counting_at_once_and_delivered_events_stay_known() {
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
    assert_eq!(calls.begun(), 1, "the delivery was a duplicate");
    const NEW: &str = r#"{"id":"evt_2","event":"task.succeeded"}"#;
    let new = signed_with(OTHER_SECRET, NEW, Full::<Bytes>::from(NEW));
    assert_eq!(status(&service, new).await, StatusCode::OK);
    assert_eq!(calls.begun(), 2);
}

/// Sends a delivery that is signed with `secret`. While its body arrives, the source is replaced
/// by one with the other secret.
async fn deliver_during_replacement<V: Resolve>(
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
async fn a_replaced_key_stops_counting_for_bodies_under_way() {
    let live = LiveSource::new(source());
    let found = deliver_during_replacement(&live, live.clone(), SECRET).await;
    // The sender may have signed for the new source, so it is asked to retry.
    assert_eq!(found, (StatusCode::SERVICE_UNAVAILABLE, 0));

    // The control: a resolver that never reports a replaced source.
    let live = LiveSource::new(source());
    let forgetful = live.clone();
    let forgetful = move |_: &request::Parts| ready(Ok(Some(forgetful.current())));
    let found = deliver_during_replacement(&live, forgetful, SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}

#[tokio::test(start_paused = true)]
async fn the_new_source_decides_about_a_request_that_the_old_source_only_observed() {
    // The delivery does not verify by the new source, which enforces.
    let live = LiveSource::new(source_with(SECRET).with_insecure_observe_mode().build());
    let found = deliver_during_replacement(&live, live.clone(), SECRET).await;
    assert_eq!(found, (StatusCode::SERVICE_UNAVAILABLE, 0));
    // The delivery verifies by the new source, although not by the old one.
    let live = LiveSource::new(source_with(SECRET).with_insecure_observe_mode().build());
    let found = deliver_during_replacement(&live, live.clone(), OTHER_SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_under_way_is_forwarded_if_its_key_stays() {
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
    let found = deliver_during_replacement(&live, live.clone(), OTHER_SECRET).await;
    assert_eq!(found, (StatusCode::OK, 1));
}

#[tokio::test]
async fn a_get_delivery_reaches_the_inner_service_with_its_method_and_query() {
    let twilio = Provider::named("twilio").unwrap();
    let secret = Secret::new(SECRET).unwrap();
    let url = "https://a.example/hooks";
    let verifier = Verifier::builder(twilio.scheme())
        .key(secret.clone())
        .url(url);
    let source = Source::builder("twilio", verifier.build().unwrap()).build();
    let inner = service_fn(|request: Request<VerifiedBody>| async move {
        let line = format!("{} {}", request.method(), request.uri());
        Ok::<HandlerResponse, Infallible>(Response::new(Full::from(line)))
    });
    let service = HookgateLayer::new(source).layer(inner);
    let get = |target: &str| Request::get(target).body(Bytes::new()).unwrap();
    let signer = Signer::builder(twilio.scheme(), &secret).url(url).build();
    let signed = signer
        .unwrap()
        .sign_request(get("/hooks?CallSid=CA9"), SystemClock.now(), None);
    let signed = signed.unwrap().map(Full::new);
    let response = service.clone().oneshot(signed.clone()).await.unwrap();
    assert_eq!(text(response).await, "GET /hooks?CallSid=CA9");
    // The controls: another query, and a method that the scheme does not know.
    let mut other = signed.clone();
    *other.uri_mut() = "/hooks?CallSid=CA8".parse().unwrap();
    assert_eq!(status(&service, other).await, StatusCode::UNAUTHORIZED);
    let mut put = signed;
    *put.method_mut() = Method::PUT;
    assert_eq!(status(&service, put).await, StatusCode::METHOD_NOT_ALLOWED);
}
