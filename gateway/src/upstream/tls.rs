//! What the gateway trusts and shows when it connects to an upstream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::pem::{FileProblem, certificates, private_key, read, roots};

/// Files that are good, and what was in them: other content is another value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// Whose certificates servers have to show. None: those that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// A certificate and its key, for servers that ask for one.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name in the servers' certificates, if it is not that of the server.
    pub(crate) name: Option<String>,
    content: u64,
}

impl ClientFiles {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// What is wrong with which of them.
    pub(crate) fn load(
        ca: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        name: Option<String>,
    ) -> Result<Self, FileProblem> {
        let mut content = DefaultHasher::new();
        if let Some(path) = &ca {
            let pem = read("ca", path)?;
            pem.hash(&mut content);
            // The library that reads it again takes nothing else.
            let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem);
            if !sections.all(|item| matches!(item, Ok((SectionKind::Certificate, _)))) {
                let path = path.display();
                return Err(("ca", format!("{path}: expected certificates in PEM alone")));
            }
            roots("ca", path, &pem)?;
        }
        if let Some((cert, key)) = &identity {
            let (cert_pem, key_pem) = (read("cert", cert)?, read("key", key)?);
            (&cert_pem, &key_pem).hash(&mut content);
            let chain = certificates("cert", cert, &cert_pem)?;
            let private = private_key(key, &key_pem)?;
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| ("cert", error.to_string()))?
                .with_root_certificates(RootCertStore::empty());
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| {
                    let (cert, key) = (cert.display(), key.display());
                    ("key", format!("{key} does not go with {cert}: {error}"))
                })?;
        }
        Ok(Self {
            ca,
            identity,
            name,
            content: content.finish(),
        })
    }

    /// Whether a certificate can be for it.
    pub(crate) fn is_name(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }
}
