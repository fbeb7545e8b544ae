//! Compatibility with the providers' own libraries, in both directions: they and hookgate give
//! one verdict on deliveries that hookgate signs, and on deliveries that they sign.
//!
//! `make test` and `make strangers` install the libraries, and set `HOOKGATE_PROVIDER_SDKS` to
//! their folder. Where they cannot be installed it is `skip`. `make drift` installs the newest
//! versions. Another library needs a row in `tests/provider_sdks/libraries.toml`, its version in
//! `package.json` or `requirements.txt`, and a function in `adapters.mjs` or `adapters.py`.

mod cases;
mod delivery;
mod differences;
mod library;
mod page;
mod worker;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use bytes::Bytes;
use hookgate_tests::{Gateway, Upstream, now, send};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};

use self::delivery::{Delivery, ID};
use self::differences::{Difference, Judged, unexpected};
pub(crate) use self::library::Registry;
use self::library::{Library, SigningKey};
pub(crate) use self::worker::Installed;
use self::worker::Worker;

/// The smallest number of providers whose libraries are compared in every run.
const MIN_PROVIDERS: usize = 55;

/// Returns the libraries of `registry` that are installed.
fn libraries(installed: &Installed, registry: Registry) -> Vec<Library> {
    let mut libraries = Library::all();
    libraries.retain(|library| {
        library.registry == registry && (!library.is_extra || installed.has_extras())
    });
    libraries
}

/// Judges `delivery` with hookgate and with the library.
fn judge(worker: &mut Worker, library: &Library, case: String, delivery: &Delivery) -> Judged {
    let hookgate = delivery.verify(&library.provider.verifier(), now());
    let (accepted, error) = worker.verify(library, delivery);
    let reasons = match &hookgate {
        Ok(()) => error,
        Err(refused) => format!("hookgate: {refused}; library: {error}"),
    };
    Judged {
        library: library.name(),
        case,
        hookgate: hookgate.is_ok().into(),
        other: accepted.into(),
        reasons,
    }
}

/// Compares hookgate with one library.
fn compare(worker: &mut Worker, library: &Library) -> Vec<Judged> {
    let provider = &library.provider;
    // The first call loads the library, which can take longer than the margin of the timestamps.
    let unsigned = Delivery::unsigned(provider, provider.body());
    worker.verify(library, &unsigned);
    let mut judged: Vec<Judged> = cases::signed_by_hookgate(provider, now())
        .into_iter()
        .map(|case| judge(worker, library, case.name, &case.delivery))
        .collect();
    if library.signs {
        for (name, delivery) in signed_by_library(worker, library) {
            judged.push(judge(worker, library, name, &delivery));
        }
    }
    judged
}

/// Returns deliveries that `library` signs, and forged deliveries.
fn signed_by_library(worker: &mut Worker, library: &Library) -> Vec<(String, Delivery)> {
    let provider = &library.provider;
    let own = provider.signing_text(SigningKey::Own);
    let other = provider.signing_text(SigningKey::Other);
    let mut sign = |body: &str, secret: &str, id: &str| {
        let unsigned = Delivery::unsigned(provider, body);
        worker.sign(library, &unsigned, secret, id, now())
    };
    let genuine = sign(provider.body(), &own, ID);
    let changed = genuine
        .with_changed_body()
        .expect("the body can be changed");
    let mut deliveries = vec![
        ("another secret", sign(provider.body(), &other, ID)),
        ("a changed body", changed),
    ];
    if genuine.headers().values().any(|value| value == ID) {
        let dotted = sign(provider.body(), &own, "msg.5f0c8a6d");
        deliveries.push(("a dot in the id", dotted));
    }
    deliveries.push(("genuine", genuine));
    // A library that makes the whole body itself signs no other one.
    if provider.body().contains("plain") {
        for (name, body) in cases::bodies(provider) {
            deliveries.push((name, sign(&body, &own, ID)));
        }
    }
    let named = deliveries.into_iter();
    named
        .map(|(name, delivery)| (format!("signed by the library: {name}"), delivery))
        .collect()
}

/// The results of a comparison with many libraries.
#[derive(Debug, Default)]
struct Comparison {
    judged: Vec<Judged>,
    /// Libraries that could not be compared, with the reason.
    failures: Vec<String>,
}

/// Compares hookgate with every installed library of `registry`. A library that fails does not
/// hide the results of the others.
fn compare_all(installed: &Installed, registry: Registry) -> Comparison {
    let mut comparison = Comparison::default();
    let Some(mut worker) = installed.worker(registry) else {
        return comparison;
    };
    for library in libraries(installed, registry) {
        let compare = AssertUnwindSafe(|| compare(&mut worker, &library));
        match catch_unwind(compare) {
            Ok(judged) => comparison.judged.extend(judged),
            Err(panic) => {
                let message = panic.downcast_ref::<String>();
                let message = message.map_or("it panicked", String::as_str);
                comparison
                    .failures
                    .push(format!("{}: {message}", library.name()));
            }
        }
    }
    comparison
}

#[test]
fn the_providers_libraries_and_hookgate_differ_only_where_a_reason_is_listed() {
    let Some(installed) = Installed::from_environment() else {
        return;
    };
    let comparisons = thread::scope(|scope| {
        let installed = &installed;
        [Registry::Npm, Registry::PyPi]
            .map(|registry| scope.spawn(move || compare_all(installed, registry)))
            .map(|thread| thread.join().expect("the comparison does not panic"))
    });
    let mut judged = Vec::new();
    let mut complaints = Vec::new();
    for comparison in comparisons {
        judged.extend(comparison.judged);
        complaints.extend(comparison.failures);
    }
    let libraries: BTreeSet<&str> = judged.iter().map(|one| one.library.as_str()).collect();
    let differ = judged
        .iter()
        .filter(|one| one.hookgate != one.other)
        .count();
    eprintln!(
        "{} libraries judged {} deliveries as hookgate does, and {differ} differently",
        libraries.len(),
        judged.len() - differ
    );
    complaints.extend(unexpected(&judged, &Difference::all()));
    assert!(
        complaints.is_empty(),
        "tests/provider_sdks/differences.toml:\n{}",
        complaints.join("\n")
    );
}

#[test]
fn enough_providers_are_compared_in_every_run() {
    let libraries = Library::all();
    let tested = libraries.iter().filter(|library| !library.is_extra);
    let providers: BTreeSet<&str> = tested.map(|l| l.provider.entry_name()).collect();
    assert!(providers.len() >= MIN_PROVIDERS, "{}", providers.len());
}

#[test]
fn each_compared_entry_names_the_library_that_it_was_checked_against() {
    let libraries = Library::all();
    let senders = libraries.chunk_by(|a, b| a.provider.name == b.provider.name);
    let unnamed: Vec<String> = senders
        .filter_map(|libraries| {
            let entry = libraries[0].provider.entry();
            let named = entry.checked_against().unwrap_or_default();
            let releases: Vec<String> = libraries.iter().map(page::release).collect();
            let is_named = releases.iter().any(|release| named.contains(release));
            let name = entry.name();
            (entry.checked().is_none() || !is_named)
                .then(|| format!("{name}: checked_against = {named:?} names none of {releases:?}"))
        })
        .collect();
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[tokio::test]
async fn the_gateway_accepts_deliveries_that_the_providers_libraries_sign() {
    let Some(installed) = Installed::from_environment() else {
        return;
    };
    let signing = |registry| {
        let mut signing = libraries(&installed, registry);
        signing.retain(|library| library.signs);
        signing
    };
    let npm = signing(Registry::Npm);
    let pypi = signing(Registry::PyPi);
    let upstream = Upstream::start().await;
    let gateway = gateway_with_sources(&upstream, npm.iter().chain(&pypi));
    for (registry, libraries) in [(Registry::Npm, npm), (Registry::PyPi, pypi)] {
        let Some(mut worker) = installed.worker(registry) else {
            continue;
        };
        for library in libraries {
            let provider = &library.provider;
            let own = provider.signing_text(SigningKey::Own);
            let unsigned = Delivery::unsigned(provider, provider.body());
            let genuine = worker.sign(&library, &unsigned, &own, ID, now());
            let changed = genuine
                .with_changed_body()
                .expect("the body can be changed");
            let refused = send(gateway.address(), request(&library, &changed)).await;
            assert_eq!(
                refused.status,
                StatusCode::UNAUTHORIZED,
                "{}",
                library.name()
            );
            let accepted = send(gateway.address(), request(&library, &genuine)).await;
            assert_eq!(
                accepted.status,
                StatusCode::NO_CONTENT,
                "{}",
                library.name()
            );
            assert_eq!(upstream.take_received().len(), 1, "{}", library.name());
        }
    }
}

/// Starts a gateway with a source for each of `libraries`.
fn gateway_with_sources<'l>(
    upstream: &Upstream,
    libraries: impl Iterator<Item = &'l Library>,
) -> Gateway {
    let mut builder = Gateway::builder(upstream.address());
    for library in libraries {
        let provider = &library.provider;
        let name = source_name(library);
        let secret = format!("SECRET_{}", name.to_uppercase().replace('-', "_"));
        let params: Vec<String> = provider
            .scheme_params()
            .into_iter()
            .map(|(name, value)| format!("{name} = {value:?}"))
            .collect();
        let variant = provider.variant.as_ref();
        let variant = variant.map(|variant| format!("\nvariant = {variant:?}"));
        builder = builder.env(&secret, &provider.secret).table(&format!(
            "[[sources]]\nname = \"{name}\"\npath = \"/{name}\"\nprovider = {:?}\n\
             secrets = [\"env:{secret}\"]\nupstream = \"app\"\nurl = {:?}\nparams = {{ {} }}{}",
            provider.entry_name(),
            provider.url(),
            params.join(", "),
            variant.unwrap_or_default(),
        ));
    }
    builder.start_without_default_sources()
}

fn source_name(library: &Library) -> String {
    library.name().replace(' ', "-").to_lowercase()
}

/// Returns `delivery` as a request to the source of `library`.
fn request(
    library: &Library,
    delivery: &Delivery,
) -> Request<http_body_util::combinators::BoxBody<Bytes, std::io::Error>> {
    let query = delivery.target().query().map(|query| format!("?{query}"));
    let mut request = Request::builder()
        .method(delivery.method())
        .uri(format!(
            "/{}{}",
            source_name(library),
            query.unwrap_or_default()
        ))
        .header("host", "hooks.example");
    let headers = request.headers_mut().expect("the request is valid");
    headers.extend(delivery.headers().clone());
    let body = Full::new(delivery.body().clone());
    let body = body.map_err(|never| match never {}).boxed();
    request.body(body).expect("the request is valid")
}
