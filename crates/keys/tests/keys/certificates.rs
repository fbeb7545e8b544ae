//! Certificates of signing keys: chain, name and period, and certificates of issuers that are
//! fetched.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{KeyReference, UnixTime, VerifyError};
use hookgate_keys::{CertificateChain, DocumentRequest, FetchError, KeySettings};
use http::StatusCode;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, IsCa, Issuer,
    KeyPair, date_time_ymd,
};

use crate::support::{NAMED, NOW, Provider, scheme};

const URL: &str = "https://keys.example.com/certs/a.pem";
const NAME: &str = "sign.example.com";

/// An authority: its certificate, and the issuer that signs with its key.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority(name: &str, parent: Option<&Authority>, access: Option<&str>) -> Authority {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.custom_extensions.extend(access.map(issuer_access));
    let key = KeyPair::generate().unwrap();
    let certificate = match parent {
        None => params.self_signed(&key),
        Some(parent) => params.signed_by(&key, &parent.issuer),
    };
    Authority {
        certificate: certificate.unwrap(),
        issuer: Issuer::new(params, key),
    }
}

/// Returns the extension that says where the certificate of the issuer is (RFC 5280 §4.2.2.1).
fn issuer_access(url: &str) -> CustomExtension {
    let element = |tag: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).unwrap();
        assert!(len < 128);
        [&[tag, len], content].concat()
    };
    let method = element(0x06, &[0x2b, 6, 1, 5, 5, 7, 48, 2]);
    let description = element(0x30, &[method, element(0x86, url.as_bytes())].concat());
    let access = element(0x30, &description);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access)
}

fn leaf(params: CertificateParams, parent: &Authority) -> String {
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, &parent.issuer).unwrap().pem()
}

/// Returns the verdict about a document that the pinned host serves, and the requests that it
/// took.
async fn verdict(
    document: String,
    settings: KeySettings,
    issuer: Option<Bytes>,
    now: UnixTime,
) -> (Result<(), VerifyError>, Vec<String>) {
    let provider = Provider::new(move |request| match request.address.host() {
        "keys.example.com" => Ok(document.clone().into()),
        _ => issuer
            .clone()
            .ok_or(FetchError::Status(StatusCode::NOT_FOUND)),
    });
    let fetcher = provider.fetcher(&scheme(NAMED), settings);
    let found = fetcher
        .key(&KeyReference::new(None, Some(URL)), None, now)
        .await;
    let requests = provider.requests();
    let requests = requests.iter().map(|request| request.address.to_string());
    (found.map(drop), requests.collect())
}

fn trusting(root: &Authority) -> KeySettings {
    KeySettings::default().roots([root.certificate.der().clone()])
}

#[tokio::test]
async fn a_certificate_must_lead_to_a_root_and_have_the_name_and_the_period() {
    let root = authority("root", None, None);
    let between = authority("between", Some(&root), None);
    let chain = |params| format!("{}{}", leaf(params, &between), between.certificate.pem());
    let stranger = authority("stranger", None, None);
    let self_signed = params(NAME).self_signed(&KeyPair::generate().unwrap());
    let mut early = params(NAME);
    early.not_before = date_time_ymd(2026, 12, 1);
    let mut late = params(NAME);
    late.not_after = date_time_ymd(2026, 2, 1);
    let mut old_issuer = CertificateParams::new(["old".to_owned()]).unwrap();
    old_issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    old_issuer.not_after = date_time_ymd(2026, 2, 1);
    let key = KeyPair::generate().unwrap();
    let old = Authority {
        certificate: old_issuer.signed_by(&key, &root.issuer).unwrap(),
        issuer: Issuer::new(old_issuer, key),
    };
    let no_authority = {
        let key = KeyPair::generate().unwrap();
        let params = params("no authority");
        Authority {
            certificate: params.signed_by(&key, &root.issuer).unwrap(),
            issuer: Issuer::new(params, key),
        }
    };
    let with =
        |parent: &Authority| format!("{}{}", leaf(params(NAME), parent), parent.certificate.pem());
    for (what, document, is_good) in [
        ("a chain", chain(params(NAME)), true),
        ("a child of the root", leaf(params(NAME), &root), true),
        ("another name", chain(params("evil.example.com")), false),
        (
            "a name with a suffix",
            chain(params("sign.example.com.evil.test")),
            false,
        ),
        ("a wildcard", chain(params("*.example.com")), false),
        ("not yet", chain(early), false),
        ("no longer", chain(late), false),
        ("without the issuer", leaf(params(NAME), &between), false),
        ("another root", leaf(params(NAME), &stranger), false),
        ("another root, sent along", with(&stranger), false),
        ("an issuer out of its period", with(&old), false),
        ("an issuer that is no authority", with(&no_authority), false),
        ("signed by itself", self_signed.unwrap().pem(), false),
        ("no certificate", "-----BEGIN X-----".to_owned(), false),
        ("broken", chain(params(NAME)).replace("MII", "MIJ"), false),
        ("many", chain(params(NAME)).repeat(10), false),
    ] {
        let (verdict, requests) = verdict(document, trusting(&root), None, NOW).await;
        let expected = match is_good {
            true => Ok(()),
            false => Err(VerifyError::KeyUnavailable),
        };
        assert_eq!(verdict, expected, "{what}");
        assert_eq!(requests, [URL], "{what}");
    }
    // The roots of the web are the default, and this one is not among them.
    let by_web = verdict(chain(params(NAME)), KeySettings::default(), None, NOW).await;
    assert_eq!(by_web.0, Err(VerifyError::KeyUnavailable));
}

#[tokio::test]
async fn the_certificate_of_an_issuer_is_fetched_from_a_pinned_host() {
    let root = authority("root", None, None);
    let between = authority("between", Some(&root), None);
    let with_access = |url: &str| {
        let mut params = params(NAME);
        params.custom_extensions.push(issuer_access(url));
        leaf(params, &between)
    };
    let pinned = "http://crt.example.com/a.cer";
    let der = Bytes::copy_from_slice(between.certificate.der());
    let pem = Bytes::from(between.certificate.pem());
    for issuer in [der.clone(), pem] {
        let (verdict, requests) =
            verdict(with_access(pinned), trusting(&root), Some(issuer), NOW).await;
        assert_eq!(
            (verdict, &requests[1..]),
            (Ok(()), &[pinned.to_owned()][..])
        );
    }
    for url in [
        "http://evil.test/a.cer",
        "http://127.0.0.1/a.cer",
        "http://crt.example.com:81/a",
    ] {
        let (verdict, requests) =
            verdict(with_access(url), trusting(&root), Some(der.clone()), NOW).await;
        assert_eq!(verdict, Err(VerifyError::KeyUnavailable), "{url}");
        assert_eq!(requests, [URL], "{url}");
    }
    // A forged issuer leads to no root.
    let stranger = authority("between", None, None);
    let forged = Bytes::copy_from_slice(stranger.certificate.der());
    let refused = verdict(with_access(pinned), trusting(&root), Some(forged), NOW).await;
    assert_eq!(refused.0, Err(VerifyError::KeyUnavailable));
    let missing = verdict(with_access(pinned), trusting(&root), None, NOW).await;
    assert_eq!(missing.0, Err(VerifyError::KeyUnavailable));
}

#[tokio::test]
async fn a_forged_issuer_refuses_no_later_delivery() {
    let root = authority("root", None, None);
    let between = authority("between", Some(&root), None);
    let mut params = params(NAME);
    let pinned = issuer_access("http://crt.example.com/a.cer");
    params.custom_extensions.push(pinned);
    let document = leaf(params, &between);
    let issued_by = move |issuer: &Authority| {
        let (document, der) = (document.clone(), issuer.certificate.der().to_vec());
        move |request: &DocumentRequest| match request.address.host() {
            "keys.example.com" => Ok(document.clone().into()),
            _ => Ok(der.clone().into()),
        }
    };
    let provider = Provider::new(issued_by(&authority("between", None, None)));
    let fetcher = provider.fetcher(&scheme(NAMED), trusting(&root));
    let reference = KeyReference::new(None, Some(URL));
    let refused = fetcher.key(&reference, None, NOW).await;
    assert_eq!(refused.unwrap_err(), VerifyError::KeyUnavailable);
    provider.answer(issued_by(&between));
    let later = NOW.plus(Duration::from_secs(5));
    assert!(fetcher.key(&reference, None, later).await.is_ok());
}

#[tokio::test]
async fn an_operator_may_trust_the_host_in_place_of_a_chain() {
    let stranger = authority("stranger", None, None);
    let by_host = || KeySettings::default().chain(CertificateChain::Host);
    let good = verdict(leaf(params(NAME), &stranger), by_host(), None, NOW).await;
    assert_eq!(good.0, Ok(()));
    let other_name = leaf(params("evil.example.com"), &stranger);
    let refused = verdict(other_name, by_host(), None, NOW).await;
    assert_eq!(refused.0, Err(VerifyError::KeyUnavailable));
}

#[tokio::test]
async fn a_certificate_does_not_count_after_its_end_although_it_is_in_memory() {
    let root = authority("root", None, None);
    let document = leaf(params(NAME), &root);
    let provider = Provider::new(move |_| Ok(document.clone().into()));
    let fetcher = provider.fetcher(&scheme(NAMED), trusting(&root));
    let reference = KeyReference::new(None, Some(URL));
    let key = fetcher.key(&reference, None, NOW).await.unwrap();
    assert!(key.is_active(NOW));
    let year = Duration::from_secs(366 * 24 * 3600);
    assert!(!key.is_active(NOW.plus(year)));
    let late = fetcher.key(&reference, None, NOW.plus(year)).await;
    assert_eq!(late.unwrap_err(), VerifyError::KeyUnavailable);
}
