//! Tests of the values that a source gets from its provider and its builder.

use std::time::Duration;

use hookgate_core::{Provider, Secret, Verifier};
use hookgate_gate::{Dedupe, Source, SourceBuilder};

#[test]
fn the_retention_is_the_sources_or_the_providers_and_never_below_the_windows() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let beatapi = Provider::named("beatapi").unwrap();
    let retention = |adjust: &dyn Fn(SourceBuilder) -> SourceBuilder| {
        let key = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(beatapi.scheme())
            .key(key)
            .build()
            .unwrap();
        adjust(Source::builder("a", verifier)).build().retention()
    };
    assert_eq!(retention(&|source| source), hours(72));
    assert_eq!(retention(&|source| source.provider(&beatapi)), hours(24));
    assert_eq!(
        retention(&|source| source.retention(hours(5)).provider(&beatapi)),
        hours(5)
    );
    assert_eq!(
        retention(&|source| source.retention(Duration::ZERO)),
        Duration::from_secs(661)
    );
}

#[test]
fn a_provider_of_thin_events_is_deduplicated_only_on_request() {
    let source = |name: &str, adjust: &dyn Fn(SourceBuilder) -> SourceBuilder| {
        let provider = Provider::named(name).unwrap();
        let key = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let verifier = Verifier::builder(provider.scheme())
            .key(key)
            .build()
            .unwrap();
        adjust(Source::builder(name, verifier).provider(&provider))
            .build()
            .dedupe()
    };
    assert_eq!(source("beatapi", &|source| source), Dedupe::Content);
    assert_eq!(source("dropbox", &|source| source), Dedupe::Off);
    assert_eq!(
        source("dropbox", &|source| source.dedupe(Dedupe::Content)),
        Dedupe::Content
    );
}
