//! Certificates and keys, from files in PEM.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong, and the key of the configuration that names the file.
pub(crate) type FileProblem = (&'static str, String);

pub(crate) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FileProblem> {
    std::fs::read(path).map_err(|error| (key, format!("cannot read {}: {error}", path.display())))
}

/// The certificates of a chain, in order.
pub(crate) fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let expected = || {
        let path = path.display();
        (
            key,
            format!("{path} is not PEM; expected BEGIN CERTIFICATE"),
        )
    };
    let chain = chain.map_err(|_| expected())?;
    if chain.is_empty() {
        return Err(expected());
    }
    Ok(chain)
}

pub(crate) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileProblem> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let path = path.display();
        (
            "key",
            format!("{path} has no private key; expected BEGIN PRIVATE KEY in PEM"),
        )
    })
}

/// The authorities that are trusted.
pub(crate) fn roots(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<RootCertStore, FileProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path, pem)? {
        roots.add(certificate).map_err(|error| {
            let path = path.display();
            (
                key,
                format!("{path}: a certificate that cannot be trusted: {error}"),
            )
        })?;
    }
    Ok(roots)
}
