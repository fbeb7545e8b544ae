//! TLS of connections to an upstream: trusted authorities and the gateway's own certificate.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::{PemObject, SectionKind};

use crate::config::Inputs;
use crate::pem::{FileProblem, certificates, key_problem, private_key, read, roots};

/// Certificate files that have been checked. Two values are equal only if the paths and the
/// contents of the files are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// Authorities of the certificates that backends must present. `None`: the authorities
    /// that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate and its key, for backends that request one.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name in the certificates of the backends, if it differs from their host names.
    pub(crate) name: Option<String>,
    /// A hash of the contents.
    content: u64,
}

impl ClientFiles {
    /// Reads and checks the files, unless `inputs` are assumed.
    ///
    /// # Errors
    ///
    /// Returns a [`FileProblem`] if a file cannot be read or is not valid.
    pub(crate) fn load(
        ca: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        name: Option<String>,
        inputs: Inputs,
    ) -> Result<Self, FileProblem> {
        let mut content = DefaultHasher::new();
        if !inputs.are_read() {
            return Ok(Self {
                ca,
                identity,
                name,
                content: 0,
            });
        }
        if let Some(path) = &ca {
            let pem = read("ca", path)?;
            pem.hash(&mut content);
            // pingora reads the file again, and accepts only certificates in it.
            let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem);
            if !sections.all(|item| matches!(item, Ok((SectionKind::Certificate, _)))) {
                let path = path.display();
                return Err((
                    "ca",
                    format!("{path} must contain only certificates in PEM"),
                ));
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
                .map_err(|error| key_problem(cert, key, &error))?;
        }
        Ok(Self {
            ca,
            identity,
            name,
            content: content.finish(),
        })
    }

    /// Returns whether `name` can be the name in a certificate.
    pub(crate) fn is_name(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }
}
