use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority, and a folder with what it has issued.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A new authority; `ca.pem` is its certificate.
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("it can be written");
        Self { folder, authority }
    }

    /// Writes `FILE.pem` and `FILE.key` for a server or client of this name.
    pub fn issue(&self, file: &str, name: &str) -> &Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, &self.authority).expect("it signs");
        let write = |end: &str, text: String| {
            std::fs::write(self.path(&format!("{file}.{end}")), text).expect("it can be written");
        };
        write("pem", issued.pem());
        write("key", key.serialize_pem());
        self
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The path as it is written in a configuration.
    pub fn quoted(&self, file: &str) -> String {
        format!("{:?}", self.path(file).display().to_string())
    }

    /// A server with `FILE.pem`. Whoever connects has to show a certificate of
    /// `clients`, if there are any.
    pub fn server(&self, file: &str, clients: Option<&Self>) -> Arc<ServerConfig> {
        let read =
            |end: &str| std::fs::read(self.path(&format!("{file}.{end}"))).expect("it was issued");
        let chain = CertificateDer::from_pem_slice(&read("pem")).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&read("key")).expect("PEM");
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder(clients.roots().into()).build();
                builder.with_client_cert_verifier(verifier.expect("an authority"))
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(vec![chain], key);
        let mut config = config.expect("they fit");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// A client that trusts this authority and speaks `protocol`.
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
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        roots.add(certificate).expect("a certificate");
        roots
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
