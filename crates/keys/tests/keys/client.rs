//! The client against local servers: TLS, size, status, and addresses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{KeyReference, VerifyError};
use hookgate_keys::{
    Address, AddressPolicy, DocumentRequest, FetchDocument as _, HttpsClient, KeyFetcher,
    KeySettings,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{ALL_KEYS, NOW, jwks, scheme};

/// A host of keys on the loopback interface. It ends with the test's runtime.
struct KeyHost {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    requests: Arc<AtomicUsize>,
}

impl KeyHost {
    /// Starts a host for `name` that sends `response` and then closes the connection.
    async fn start(name: &str, response: Bytes) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = cert.der().clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut head = [0; 2048];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    _ = stream.write_all(&response).await;
                    _ = stream.shutdown().await;
                }
            }
        });
        Self {
            address,
            certificate,
            requests,
        }
    }

    fn fetcher(&self, policy: AddressPolicy, host: &str) -> KeyFetcher {
        let roots = std::slice::from_ref(&self.certificate);
        let client = Arc::new(HttpsClient::new(policy, Some(roots)).unwrap());
        let url = format!("https://{host}:{}/jwks.json", self.address.port());
        let settings = KeySettings::default().url(url);
        KeyFetcher::new("source", &scheme(ALL_KEYS), settings, client).unwrap()
    }
}

fn response(status: &str, headers: &str, body: &[u8]) -> Bytes {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

async fn verdict(fetcher: &KeyFetcher) -> Result<(), VerifyError> {
    let reference = KeyReference::new(Some("a"), None);
    fetcher.key(&reference, None, NOW).await.map(drop)
}

async fn only_result(fetcher: &KeyFetcher) -> (Result<(), VerifyError>, &'static str) {
    let verdict = verdict(fetcher).await;
    let counted = fetcher.stats(NOW).fetches;
    let counted: Vec<_> = counted.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    (verdict, counted[0].0)
}

#[tokio::test]
async fn a_document_arrives_over_tls_and_states_its_age() {
    let body = response(
        "200 OK",
        "cache-control: public, max-age=120\r\n",
        &jwks(&["a"]),
    );
    let host = KeyHost::start("localhost", body).await;
    let fetcher = host.fetcher(AddressPolicy::Any, "localhost");
    assert_eq!(only_result(&fetcher).await, (Ok(()), "success"));
    let reference = KeyReference::new(Some("a"), None);
    let later = NOW.plus(Duration::from_secs(119));
    assert!(fetcher.key(&reference, None, later).await.is_ok());
    assert_eq!(host.requests.load(Ordering::SeqCst), 1);
    let stale = NOW.plus(Duration::from_secs(241));
    assert!(fetcher.key(&reference, None, stale).await.is_ok());
    assert!(host.requests.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_private_address_is_refused_unless_the_operator_allows_it() {
    let host = KeyHost::start("localhost", response("200 OK", "", &jwks(&["a"]))).await;
    for (policy, name, expected) in [
        (AddressPolicy::Public, "localhost", "address_refused"),
        (AddressPolicy::Public, "127.0.0.1", "address_refused"),
        (AddressPolicy::Any, "localhost", "success"),
        // The certificate has another name.
        (AddressPolicy::Any, "127.0.0.1", "unreachable"),
    ] {
        let result = only_result(&host.fetcher(policy, name)).await.1;
        assert_eq!(result, expected, "{policy:?} {name}");
    }
    assert_eq!(host.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_bad_response_is_refused_with_a_stable_result() {
    let redirect = "location: https://localhost/other\r\n";
    let endless = Bytes::from(
        [
            &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..],
            &[b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"]
                .concat()
                .repeat(17),
        ]
        .concat(),
    );
    for (what, body, expected) in [
        ("a redirect", response("302 Found", redirect, b""), "status"),
        (
            "another redirect",
            response("307 Temporary Redirect", redirect, b""),
            "status",
        ),
        ("an error", response("500 Error", "", b""), "status"),
        (
            "a success without a document",
            response("204 No Content", "", b""),
            "status",
        ),
        ("no document", response("404 Not Found", "", b""), "missing"),
        ("no HTTP", Bytes::from_static(b"hello"), "unreachable"),
        ("nothing", Bytes::new(), "unreachable"),
        (
            "half",
            Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
            "unreachable",
        ),
        (
            "a large document",
            response("200 OK", "", &[b' '; 1024 * 1024 + 1]),
            "malformed",
        ),
        ("an endless document", endless, "malformed"),
        ("no JSON", response("200 OK", "", b"{"), "malformed"),
    ] {
        let host = KeyHost::start("localhost", body).await;
        let (verdict, result) = only_result(&host.fetcher(AddressPolicy::Any, "localhost")).await;
        assert_eq!(result, expected, "{what}");
        assert_eq!(verdict, Err(VerifyError::KeyUnavailable), "{what}");
        assert_eq!(host.requests.load(Ordering::SeqCst), 1, "{what}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let body = response("200 OK", "", &jwks(&["a"]));
    let host = KeyHost::start("localhost", body.clone()).await;
    let other = KeyHost::start("localhost", body).await;
    let client = HttpsClient::new(AddressPolicy::Any, Some(&[other.certificate]));
    let url = format!("https://localhost:{}/jwks.json", host.address.port());
    let settings = KeySettings::default().url(url);
    let client = Arc::new(client.unwrap());
    let fetcher = KeyFetcher::new("source", &scheme(ALL_KEYS), settings, client).unwrap();
    assert_eq!(only_result(&fetcher).await.1, "unreachable");
    assert_eq!(host.requests.load(Ordering::SeqCst), 0);
}

/// Serves `responses` on each connection, and closes it after the last one. Returns the address and
/// the number of connections.
async fn plain_host(responses: Vec<Bytes>) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/document", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let responses = responses.clone();
            tokio::spawn(async move {
                let mut head = [0; 2048];
                for response in responses {
                    if !stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        return;
                    }
                    _ = stream.write_all(&response).await;
                }
            });
        }
    });
    (Address::parse(&url).unwrap(), connections)
}

#[tokio::test]
async fn a_client_reuses_connections_if_it_is_asked_to() {
    let client = || HttpsClient::new(AddressPolicy::Any, None).unwrap();
    let (ok, missing) = (
        response("200 OK", "", b"one"),
        response("404 Not Found", "", b"none"),
    );
    for (client, responses, expected) in [
        // The control.
        (client(), vec![ok.clone(), missing.clone(), ok.clone()], 3),
        (
            client().reusing_connections(),
            vec![ok.clone(), missing, ok.clone()],
            1,
        ),
        // The host closes each connection after a response.
        (client().reusing_connections(), vec![ok], 3),
    ] {
        let (address, connections) = plain_host(responses).await;
        for number in 0..3 {
            let request = DocumentRequest::get(address.clone());
            let fetched = client.fetch(&request).await;
            let is_missing = expected == 1 && number == 1;
            assert_eq!(fetched.is_err(), is_missing, "{number}: {fetched:?}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
}
