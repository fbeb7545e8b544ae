//! TLS of a listener. A reload replaces the certificates, from the next handshake on.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hookgate_core::UnixTime;
use pingora_core::listeners::tls::Acceptor;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::config::Inputs;
use crate::pem::{FileProblem, certificates, key_problem, private_key, read, roots};

/// The certificate files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities of the certificates that clients must present. `None`: clients need no
    /// certificate.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The TLS configuration of a listener.
pub(crate) struct ServerTls {
    files: ServerFiles,
    loaded: ArcSwap<Loaded>,
}

/// The contents of the files.
struct Loaded {
    acceptor: Arc<Acceptor>,
    certificate: Option<CertificateFacts>,
}

/// The owner and the end of the certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    pub(crate) subject: String,
    pub(crate) not_after: UnixTime,
}

impl ServerTls {
    /// Reads the files, unless `inputs` are assumed.
    ///
    /// # Errors
    ///
    /// Returns a [`FileProblem`] if a file cannot be read or is not valid.
    pub(crate) fn load(files: ServerFiles, inputs: Inputs) -> Result<Self, FileProblem> {
        let loaded = match inputs {
            Inputs::Read => files.load()?,
            Inputs::Assumed => Loaded::without_files()?,
        };
        Ok(Self {
            files,
            loaded: ArcSwap::from_pointee(loaded),
        })
    }

    /// Returns the acceptor for the next connection.
    pub(crate) fn acceptor(&self) -> Arc<Acceptor> {
        Arc::clone(&self.loaded.load().acceptor)
    }

    /// Returns the facts about the certificate. `None` if it cannot be parsed.
    pub(crate) fn certificate(&self) -> Option<CertificateFacts> {
        self.loaded.load().certificate.clone()
    }

    /// Uses the certificates of `new` for later connections.
    pub(crate) fn adopt(&self, new: &Self) {
        self.loaded.store(new.loaded.load_full());
    }

    /// Returns a description for the `check` command.
    pub(crate) fn describe(&self) -> String {
        let cert = self.files.cert.display();
        match &self.files.client_ca {
            Some(ca) => {
                let ca = ca.display();
                format!("TLS with {cert}, only for clients with a certificate from {ca}")
            }
            None => format!("TLS with {cert}"),
        }
    }
}

impl Loaded {
    /// Returns a configuration that no handshake succeeds with, for a description.
    fn without_files() -> Result<Self, FileProblem> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ("cert", error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        Ok(Self {
            acceptor: Arc::new(Acceptor::from_server_config(Arc::new(config))),
            certificate: None,
        })
    }
}

impl ServerFiles {
    fn load(&self) -> Result<Loaded, FileProblem> {
        let chain = certificates("cert", &self.cert, &read("cert", &self.cert)?)?;
        let certificate = chain.first().and_then(|leaf| CertificateFacts::of(leaf));
        let key = private_key(&self.key, &read("key", &self.key)?)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ("cert", error.to_string()))?;
        let builder = match &self.client_ca {
            Some(path) => {
                let roots = roots("client_ca", path, &read("client_ca", path)?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| ("client_ca", error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| key_problem(&self.cert, &self.key, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = Acceptor::from_server_config(Arc::new(config));
        Ok(Loaded {
            acceptor: Arc::new(acceptor),
            certificate,
        })
    }
}

impl CertificateFacts {
    fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let facts = certificate.tbs_certificate();
        let not_after = facts.validity().not_after.to_unix_duration().as_secs();
        Some(Self {
            subject: facts.subject().to_string(),
            not_after: UnixTime::from_secs(i64::try_from(not_after).ok()?),
        })
    }
}

/// Compares the paths, not the contents: a reload may change the contents.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The acceptor contains the private key.
        f.debug_struct("ServerTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
