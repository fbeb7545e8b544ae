//! A certificate authority for tests over TLS, and the certificates that it issues.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority, and a temporary folder with the files it issued.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Creates an authority and writes its own certificate to `ca.pem`.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("an empty list of names is valid");
        params
            .distinguished_name
            .push(DnType::CommonName, "hookgate test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the key pair is generated");
        let authority = CertifiedIssuer::self_signed(params, key)
            .expect("the authority signs its own certificate");
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("the file is written");
        Self { folder, authority }
    }

    /// Issues a certificate for `name` and writes it to `FILE.pem`, with its key in `FILE.key`.
    ///
    /// Both a server and a client can use it.
    pub fn issue(&self, file: &str, name: &str) -> &Self {
        let key = KeyPair::generate().expect("the key pair is generated");
        self.issue_for(file, name, &key);
        self
    }

    /// Issues a certificate like [`issue`](Self::issue) that ends `days` days from now, or has ended.
    pub fn issue_for_days(&self, file: &str, name: &str, days: i64) -> &Self {
        let key = KeyPair::generate().expect("the key pair is generated");
        let end = OffsetDateTime::now_utc() + Duration::days(days);
        self.issue_until(file, name, &key, Some(end));
        self
    }

    /// Issues a certificate for `name` and `key` like [`issue`](Self::issue), and returns it.
    pub fn issue_for(&self, file: &str, name: &str, key: &KeyPair) -> String {
        self.issue_until(file, name, key, None)
    }

    fn issue_until(
        &self,
        file: &str,
        name: &str,
        key: &KeyPair,
        end: Option<OffsetDateTime>,
    ) -> String {
        let mut params = CertificateParams::new([name.to_owned()]).expect("the name is valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        if let Some(end) = end {
            params.not_after = end;
        }
        let issued = params
            .signed_by(key, &self.authority)
            .expect("the authority signs the certificate");
        let write = |end: &str, text: String| {
            std::fs::write(self.path(&format!("{file}.{end}")), text).expect("the file is written");
        };
        write("pem", issued.pem());
        write("key", key.serialize_pem());
        issued.pem()
    }

    /// Returns the path of an issued file.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Returns the path as a quoted string for a configuration file.
    pub fn quoted(&self, file: &str) -> String {
        format!("{:?}", self.path(file).display().to_string())
    }

    /// Returns the TLS settings of a server with the certificate `FILE.pem`.
    ///
    /// With `clients`, the server demands a client certificate of that authority.
    pub fn server(&self, file: &str, clients: Option<&Self>) -> Arc<ServerConfig> {
        let read = |end: &str| {
            std::fs::read(self.path(&format!("{file}.{end}"))).expect("the file was issued")
        };
        let chain = CertificateDer::from_pem_slice(&read("pem")).expect("the certificate is PEM");
        let key = PrivateKeyDer::from_pem_slice(&read("key")).expect("the key is PEM");
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder(clients.roots().into()).build();
                builder.with_client_cert_verifier(verifier.expect("the authority is valid"))
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(vec![chain], key);
        let mut config = config.expect("certificate and key match");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Returns the TLS settings of a client that trusts this authority and offers `protocol`.
    pub fn client(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.pem();
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).expect("the certificate is PEM");
        roots.add(certificate).expect("the certificate is valid");
        roots
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
