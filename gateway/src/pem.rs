//! Reads certificates and private keys from PEM files, for listeners and for upstreams.
//!
//! No message contains the error of the PEM parser, because that quotes the file, which may
//! contain a private key.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, Error, RootCertStore};

/// A mistake in a file: the configuration key that names the file, and a message.
pub(crate) type FileProblem = (&'static str, String);

/// Reads the file that the configuration key `key` names.
pub(crate) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FileProblem> {
    std::fs::read(path).map_err(|error| (key, format!("cannot read {}: {error}", path.display())))
}

/// Parses the certificates of a chain, in the order of the file.
pub(crate) fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let file = path.display();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err((
            key,
            format!("{file} contains no valid certificate; expected BEGIN CERTIFICATE in PEM"),
        )),
    }
}

/// Parses the private key of the configuration key `key`.
pub(crate) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileProblem> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let path = path.display();
        (
            "key",
            format!("{path} contains no valid private key; expected BEGIN PRIVATE KEY in PEM"),
        )
    })
}

/// Describes why rustls refuses a certificate with its key.
pub(crate) fn key_problem(cert: &Path, key: &Path, error: &Error) -> FileProblem {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => (
            "key",
            format!("{key} is not the private key of the certificate in {cert}"),
        ),
        Error::InvalidCertificate(error) => (
            "cert",
            format!(
                "the certificate in {cert} cannot be used: {}; expected a certificate in X.509 \
                 version 3",
                certificate_fault(error)
            ),
        ),
        error => ("key", format!("{key} cannot be used with {cert}: {error}")),
    }
}

fn certificate_fault(error: &CertificateError) -> String {
    // rustls shows the error of its parser as Rust code.
    let text = error.to_string();
    match text.contains("UnsupportedCertVersion") {
        true => "it is an X.509 certificate of version 1 or 2".to_owned(),
        false => text,
    }
}

/// Parses the certificates of trusted authorities.
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
                format!("{path} contains a certificate that cannot be trusted: {error}"),
            )
        })?;
    }
    Ok(roots)
}
