//! Resolvers that look sources up elsewhere: their cache, their deadline, and closures that borrow
//! the head of a request.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, service_fn};
use tower_hookgate::{BoxError, CachedSources, HookgateLayer, Resolve, Source, VerifiedBody};

use self::support::{BODY, OTHER_SECRET, SECRET, Step, Steps, signed_with, source_with, status};

/// A database of tenants, which counts the lookups.
#[derive(Default)]
struct Database {
    tenants: Mutex<HashMap<&'static str, Answer>>,
    lookups: AtomicUsize,
    /// A lookup of [`Answer::Waits`] needs a permit.
    permits: Option<Semaphore>,
}

#[derive(Clone, Copy)]
enum Answer {
    Source,
    /// The source with another secret.
    Rotated,
    Waits,
    Fails,
    Hangs,
}

type Shared = Arc<Database>;

async fn look_up(database: &Shared, tenant: &str) -> Result<Option<Source>, BoxError> {
    database.lookups.fetch_add(1, Ordering::SeqCst);
    let answer = database.tenants.lock().unwrap().get(tenant).copied();
    let mut secret = SECRET;
    match answer {
        None => return Ok(None),
        Some(Answer::Source) => {}
        Some(Answer::Rotated) => secret = OTHER_SECRET,
        Some(Answer::Waits) => {
            let permits = database.permits.as_ref().unwrap();
            permits.acquire().await?.forget();
        }
        Some(Answer::Fails) => return Err("the database is down".into()),
        Some(Answer::Hangs) => pending().await,
    }
    Ok(Some(source_with(secret).tenant(tenant).build()))
}

fn set(database: &Database, tenant: &'static str, answer: Answer) {
    database.tenants.lock().unwrap().insert(tenant, answer);
}

fn tenant(head: &Parts) -> Option<String> {
    head.uri.path().strip_prefix("/hooks/").map(str::to_owned)
}

fn head(path: &str) -> Parts {
    Request::post(path).body(()).unwrap().into_parts().0
}

fn database(tenants: &[(&'static str, Answer)]) -> Shared {
    Arc::new(Database {
        tenants: Mutex::new(tenants.iter().copied().collect()),
        permits: Some(Semaphore::new(0)),
        ..Database::default()
    })
}

fn count(database: &Database) -> usize {
    database.lookups.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_for_its_time() {
    let database = database(&[("acme", Answer::Source)]);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up)
        .ttl(Duration::from_secs(60))
        .absent_ttl(Duration::from_secs(10));
    let (acme, other) = (head("/hooks/acme"), head("/hooks/other"));
    let first = sources.resolve(&acme).await.unwrap().unwrap();
    assert_eq!(first.tenant(), Some("acme"));
    for _ in 0..3 {
        let again = sources.resolve(&acme).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again) && sources.is_current(&acme, &first));
        assert!(sources.resolve(&other).await.unwrap().is_none());
    }
    assert_eq!(count(&database), 2);

    advance(Duration::from_secs(10)).await;
    assert!(sources.resolve(&other).await.unwrap().is_none());
    sources.resolve(&acme).await.unwrap().unwrap();
    assert_eq!(count(&database), 3);

    // The secret is removed. It counts until the result has expired.
    database.tenants.lock().unwrap().clear();
    assert!(sources.is_current(&acme, &first));
    advance(Duration::from_secs(50)).await;
    assert!(!sources.is_current(&acme, &first));
    assert!(sources.resolve(&acme).await.unwrap().is_none());
    assert!(!sources.is_current(&acme, &first));
    // A request without a tenant causes no lookup.
    assert!(sources.resolve(&head("/")).await.unwrap().is_none());
    assert_eq!(count(&database), 4);
}

#[tokio::test]
async fn concurrent_requests_of_a_tenant_share_one_lookup() {
    let database = database(&[("acme", Answer::Waits)]);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up);
    let sources = Arc::new(sources.deadline(Duration::from_secs(600)));
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let sources = Arc::clone(&sources);
            tokio::spawn(async move { sources.resolve(&head("/hooks/acme")).await.unwrap() })
        })
        .collect();
    while count(&database) == 0 {
        tokio::task::yield_now().await;
    }
    database.permits.as_ref().unwrap().add_permits(1);
    for request in requests {
        assert!(request.await.unwrap().is_some());
    }
    assert_eq!(count(&database), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_is_repeated_and_a_hanging_one_ends() {
    let database = database(&[("acme", Answer::Fails), ("slow", Answer::Hangs)]);
    let sources =
        CachedSources::new(Arc::clone(&database), tenant, look_up).deadline(Duration::from_secs(3));
    let acme = head("/hooks/acme");
    for lookups in 1..3 {
        let error = sources.resolve(&acme).await.unwrap_err().to_string();
        assert_eq!(error, "the database is down");
        assert_eq!(count(&database), lookups);
    }
    let start = Instant::now();
    let slow = head("/hooks/slow");
    let error = sources.resolve(&slow).await.unwrap_err().to_string();
    assert_eq!(error, "the lookup of the source did not end within 3s");
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    // The next request looks up again.
    set(&database, "slow", Answer::Source);
    assert!(sources.resolve(&slow).await.unwrap().is_some());
}

/// The first request disconnects, and the others get the result of its lookup.
#[tokio::test]
async fn a_lookup_survives_the_request_that_started_it() {
    let database = database(&[("acme", Answer::Waits)]);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up);
    let sources = Arc::new(sources.deadline(Duration::from_secs(600)));
    let resolve = |sources: &Arc<_>| {
        let sources: Arc<CachedSources<_, _, _>> = Arc::clone(sources);
        tokio::spawn(async move { sources.resolve(&head("/hooks/acme")).await.unwrap() })
    };
    let first = resolve(&sources);
    while count(&database) == 0 {
        tokio::task::yield_now().await;
    }
    let second = resolve(&sources);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    database.permits.as_ref().unwrap().add_permits(1);
    assert!(second.await.unwrap().is_some());
    assert_eq!(count(&database), 1);
}

#[tokio::test]
async fn an_invented_tenant_takes_little_space_and_pushes_out_no_source() {
    let database = database(&[("acme", Answer::Source)]);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up).max_entries(10);
    let acme = head("/hooks/acme");
    let source = sources.resolve(&acme).await.unwrap().unwrap();
    for number in 0..1000 {
        let head = head(&format!("/hooks/{number}"));
        assert!(sources.resolve(&head).await.unwrap().is_none());
    }
    assert!(sources.is_current(&acme, &source));
    assert_eq!(count(&database), 1001);
    let text = format!("{sources:?}");
    let absent = text.split("absent: ").nth(1).unwrap();
    let absent: u64 = absent.split(',').next().unwrap().parse().unwrap();
    assert!(absent <= 10, "{text}");
    // No lookup for a name that is longer than any name of a tenant.
    let long = head(&format!("/hooks/{}", "x".repeat(257)));
    assert!(sources.resolve(&long).await.unwrap().is_none());
    assert_eq!(count(&database), 1001);
}

/// More tenants are active than the cache holds, so each takes the place of another one.
#[tokio::test]
async fn a_new_tenant_is_kept_in_a_full_cache() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let database = database(&names.map(|name| (name, Answer::Source)));
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up).max_entries(4);
    for _ in 0..20 {
        for name in names {
            let head = head(&format!("/hooks/{name}"));
            let source = sources.resolve(&head).await.unwrap().unwrap();
            // After this many reads, the cache removes the entries above its maximum.
            for _ in 0..200 {
                assert!(sources.is_current(&head, &source), "{name}");
            }
        }
    }
}

/// Lookups of invented names hang, and a known tenant whose result has expired is looked up.
#[tokio::test(start_paused = true)]
async fn invented_names_do_not_delay_a_known_tenant() {
    let tenants: Vec<_> = (0..100)
        .map(|number| &*format!("invented-{number}").leak())
        .map(|name| (name, Answer::Hangs))
        .chain([("acme", Answer::Source)])
        .collect();
    let database = database(&tenants);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up);
    let sources = Arc::new(sources.deadline(Duration::from_secs(600)));
    let acme = head("/hooks/acme");
    sources.resolve(&acme).await.unwrap().unwrap();
    advance(Duration::from_secs(60)).await;
    for number in 0..100 {
        let name = format!("invented-{number}");
        let sources = Arc::clone(&sources);
        tokio::spawn(async move { sources.resolve(&head(&format!("/hooks/{name}"))).await });
    }
    while count(&database) < 33 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    sources.resolve(&acme).await.unwrap().unwrap();
    sources.forget("acme");
    sources.resolve(&acme).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    // The control: a tenant that is not known waits for a free place.
    let other = head("/hooks/other");
    let waits = timeout(Duration::from_secs(1), sources.resolve(&other)).await;
    assert!(waits.is_err());
    assert_eq!(count(&database), 35);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_tenant_is_looked_up_again() {
    let database = database(&[("acme", Answer::Source)]);
    let sources = CachedSources::new(Arc::clone(&database), tenant, look_up);
    let handle = sources.clone();
    let (acme, other) = (head("/hooks/acme"), head("/hooks/other"));
    let old = sources.resolve(&acme).await.unwrap().unwrap();
    assert!(sources.resolve(&other).await.unwrap().is_none());
    set(&database, "acme", Answer::Rotated);
    set(&database, "other", Answer::Source);

    // The control: the results are kept, also if another tenant is forgotten.
    handle.forget("umbrella");
    let kept = sources.resolve(&acme).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&old, &kept) && sources.is_current(&acme, &old));
    assert!(sources.resolve(&other).await.unwrap().is_none());
    assert_eq!(count(&database), 2);

    handle.forget("acme");
    handle.forget("other");
    assert!(!sources.is_current(&acme, &old));
    let new = sources.resolve(&acme).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&old, &new) && sources.is_current(&acme, &new));
    assert!(sources.resolve(&other).await.unwrap().is_some());
    assert_eq!(count(&database), 4);
}

/// A database that ignores case finds a tenant by several names.
#[tokio::test]
async fn a_tenant_is_forgotten_under_every_name() {
    async fn look_up(_: &(), name: &str) -> Result<Option<Source>, BoxError> {
        let source = source_with(SECRET).tenant(name.to_lowercase());
        Ok(Some(source.build()))
    }
    let sources = CachedSources::new((), tenant, look_up);
    let names = ["acme", "ACME", "umbrella"];
    let mut found = Vec::new();
    for name in names {
        let head = head(&format!("/hooks/{name}"));
        let source = sources.resolve(&head).await.unwrap().unwrap();
        found.push((head, source));
    }
    sources.forget("acme");
    let current = found.iter();
    let current: Vec<_> = current
        .map(|(head, source)| sources.is_current(head, source))
        .collect();
    assert_eq!(current, [false, false, true]);
}

/// The lookup has read the old secret, and ends after the tenant is forgotten.
#[tokio::test]
async fn a_lookup_that_is_in_progress_while_its_tenant_is_forgotten_keeps_no_result() {
    for is_forgotten in [true, false] {
        let database = database(&[("acme", Answer::Waits)]);
        let sources = CachedSources::new(Arc::clone(&database), tenant, look_up)
            .deadline(Duration::from_secs(600));
        let first = sources.clone();
        let first = tokio::spawn(async move { first.resolve(&head("/hooks/acme")).await.unwrap() });
        while count(&database) == 0 {
            tokio::task::yield_now().await;
        }
        let acme = head("/hooks/acme");
        set(&database, "acme", Answer::Rotated);
        if is_forgotten {
            sources.forget("acme");
            let new = sources.resolve(&acme).await.unwrap().unwrap();
            database.permits.as_ref().unwrap().add_permits(1);
            let old = first.await.unwrap().unwrap();
            assert!(!sources.is_current(&acme, &old) && sources.is_current(&acme, &new));
        } else {
            // The control.
            database.permits.as_ref().unwrap().add_permits(1);
            let old = first.await.unwrap().unwrap();
            assert!(sources.is_current(&acme, &old));
        }
        assert_eq!(count(&database), 1 + usize::from(is_forgotten));
    }
}

/// The secret of a tenant is rotated while the body of a delivery arrives. The sender has to try
/// again, and the new secret then counts.
#[tokio::test(start_paused = true)]
async fn a_rotated_secret_counts_at_once_for_a_delivery_under_way() {
    for (is_forgotten, expected) in [
        (true, StatusCode::SERVICE_UNAVAILABLE),
        (false, StatusCode::OK),
    ] {
        let database = database(&[("acme", Answer::Source)]);
        let sources = CachedSources::new(Arc::clone(&database), tenant, look_up);
        let service = HookgateLayer::resolving(sources.clone()).layer(service_fn(
            async |_: Request<VerifiedBody>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            },
        ));
        let body = Steps::of([
            Step::Sleep(Duration::from_secs(2)),
            Step::Chunk(BODY.as_bytes()),
        ]);
        let mut request = signed_with(SECRET, BODY, body);
        *request.uri_mut() = "/hooks/acme".parse().unwrap();
        let rotate = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            set(&database, "acme", Answer::Rotated);
            if is_forgotten {
                sources.forget("acme");
            }
        };
        let (found, ()) = tokio::join!(status(&service, request), rotate);
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn extreme_settings_are_usable() {
    for ttl in [Duration::ZERO, Duration::MAX] {
        let database = database(&[("acme", Answer::Source)]);
        let sources = CachedSources::new(Arc::clone(&database), tenant, look_up)
            .ttl(ttl)
            .absent_ttl(ttl)
            .max_entries(0);
        let acme = head("/hooks/acme");
        let source = sources.resolve(&acme).await.unwrap().unwrap();
        assert!(sources.is_current(&acme, &source), "{ttl:?}");
        assert!(
            sources
                .resolve(&head("/hooks/other"))
                .await
                .unwrap()
                .is_none()
        );
    }
}

/// An async closure and an async function may borrow the head across an await.
#[tokio::test]
async fn a_closure_that_borrows_the_head_is_a_resolver() {
    async fn by_path(head: &Parts) -> Result<Option<Arc<Source>>, BoxError> {
        tokio::task::yield_now().await;
        let is_known = head.uri.path() == "/hooks/acme";
        Ok(is_known.then(|| Arc::new(source_with(SECRET).build())))
    }
    async fn statuses(resolver: impl Resolve) -> [StatusCode; 2] {
        let found = async |path| match resolver.resolve(&head(path)).await {
            Ok(Some(_)) => StatusCode::OK,
            Ok(None) => StatusCode::NOT_FOUND,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        [found("/hooks/acme").await, found("/hooks/other").await]
    }
    let expected = [StatusCode::OK, StatusCode::NOT_FOUND];
    assert_eq!(statuses(by_path).await, expected);
    assert_eq!(
        statuses(async |head: &Parts| by_path(head).await).await,
        expected
    );
    let captured: &'static Mutex<Vec<String>> = Box::leak(Box::default());
    let capturing = async move |head: &Parts| {
        captured.lock().unwrap().push(head.uri.to_string());
        by_path(head).await
    };
    assert_eq!(statuses(capturing).await, expected);
    assert_eq!(*captured.lock().unwrap(), ["/hooks/acme", "/hooks/other"]);
    let owned = Arc::new(source_with(SECRET).build());
    let owning = move |head: &Parts| {
        let (owned, path) = (Arc::clone(&owned), head.uri.path().to_owned());
        async move { Ok((path == "/hooks/acme").then_some(owned)) }
    };
    assert_eq!(statuses(owning).await, expected);
}
