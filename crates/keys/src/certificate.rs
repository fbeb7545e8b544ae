//! Certificates of signing keys: their chain to a root, their names and their period.
//!
//! The X.509 logic is that of rustls-webpki. This module decides what is checked.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_core::internal::NamePattern;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
use x509_cert::ext::pkix::name::GeneralName;

use crate::address::Address;

/// The most certificates that a document may have.
const MAX_CERTIFICATES: usize = 8;

/// The access method of an issuer's certificate (RFC 5280 §4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// Why a certificate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The document is not one to eight certificates in PEM.
    Malformed,
    /// No chain leads to a root.
    Untrusted,
    /// The certificate of the issuer is missing.
    IssuerMissing,
    /// The certificate has none of the names that the scheme expects.
    WrongName,
    /// The period of the certificate has not begun, or has ended.
    OutsideOfPeriod,
}

/// A certificate, and the certificates of issuers that came with it.
#[derive(Debug)]
pub(crate) struct CertificateCheck<'c> {
    chain: Vec<CertificateDer<'c>>,
    certificate: Certificate,
    public_key: Vec<u8>,
}

impl CertificateCheck<'static> {
    /// Reads a document of certificates in PEM. The first one is that of the key.
    pub(crate) fn read(document: &[u8]) -> Result<Self, CertificateError> {
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(document)
                .take(MAX_CERTIFICATES + 1)
                .collect();
        let chain = chain.map_err(|_| CertificateError::Malformed)?;
        if chain.len() > MAX_CERTIFICATES {
            return Err(CertificateError::Malformed);
        }
        let first = chain.first().ok_or(CertificateError::Malformed)?;
        let certificate = Certificate::from_der(first).map_err(|_| CertificateError::Malformed)?;
        let info = certificate.tbs_certificate().subject_public_key_info();
        let public_key = info.to_der().map_err(|_| CertificateError::Malformed)?;
        Ok(Self {
            chain,
            certificate,
            public_key,
        })
    }
}

impl CertificateCheck<'_> {
    /// Returns the public key in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Returns the first and the last time at which the certificate counts.
    pub(crate) fn period(&self) -> (UnixTime, UnixTime) {
        let validity = self.certificate.tbs_certificate().validity();
        let time = |of: Duration| UnixTime::from_secs(0).plus(of);
        (
            time(validity.not_before.to_unix_duration()),
            time(validity.not_after.to_unix_duration()),
        )
    }

    /// Checks that one of the certificate's names has one of the patterns.
    pub(crate) fn check_name(&self, names: &[NamePattern]) -> Result<(), CertificateError> {
        let certificate = self.end_entity()?;
        let mut found = certificate.valid_dns_names();
        match found.any(|name| names.iter().any(|pattern| pattern.matches(name))) {
            true => Ok(()),
            false => Err(CertificateError::WrongName),
        }
    }

    /// Checks that the certificate counts at `now`.
    pub(crate) fn check_period(&self, now: UnixTime) -> Result<(), CertificateError> {
        let (start, end) = self.period();
        match start <= now && now <= end {
            true => Ok(()),
            false => Err(CertificateError::OutsideOfPeriod),
        }
    }

    /// Checks that a chain leads from the certificate to one of `roots`, with the certificates of
    /// the document and with `issuers` between them.
    pub(crate) fn check_chain(
        &self,
        issuers: &[CertificateDer<'_>],
        roots: &[TrustAnchor<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let between: Vec<CertificateDer<'_>> = self.chain[1..]
            .iter()
            .chain(issuers)
            .map(|certificate| CertificateDer::from(&certificate[..]))
            .collect();
        let seconds = u64::try_from(now.secs()).unwrap_or_default();
        let time = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let certificate = self.end_entity()?;
        let checked = certificate.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            roots,
            &between,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        );
        match checked {
            Ok(_) => Ok(()),
            Err(webpki::Error::UnknownIssuer) => Err(CertificateError::IssuerMissing),
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
                Err(CertificateError::OutsideOfPeriod)
            }
            Err(_) => Err(CertificateError::Untrusted),
        }
    }

    fn end_entity(&self) -> Result<EndEntityCert<'_>, CertificateError> {
        EndEntityCert::try_from(&self.chain[0]).map_err(|_| CertificateError::Malformed)
    }

    /// Returns the address of the issuer's certificate for the last certificate of the document,
    /// or for the last of `issuers`. Its host must have one of the patterns.
    pub(crate) fn issuer_address(
        &self,
        issuers: &[CertificateDer<'_>],
        hosts: &[NamePattern],
    ) -> Option<Address> {
        let last = issuers.last().or(self.chain.last())?;
        let certificate = Certificate::from_der(last).ok()?;
        let (_, access) = certificate
            .tbs_certificate()
            .get_extension::<AuthorityInfoAccessSyntax>()
            .ok()??;
        access.0.iter().find_map(|description| {
            let GeneralName::UniformResourceIdentifier(text) = &description.access_location else {
                return None;
            };
            let address = Address::parse_issuer(text.as_str())?;
            let is_pinned = hosts.iter().any(|host| host.matches(address.host()));
            (description.access_method.to_string() == CA_ISSUERS && is_pinned).then_some(address)
        })
    }
}

/// Reads the certificate of an issuer, in DER or in PEM.
pub(crate) fn read_issuer(document: &[u8]) -> Option<CertificateDer<'static>> {
    let der = match CertificateDer::from_pem_slice(document) {
        Ok(certificate) => certificate,
        Err(_) => CertificateDer::from(document.to_vec()),
    };
    Certificate::from_der(&der).is_ok().then_some(der)
}

/// Returns the roots of certificates: the roots of the web, or the
/// certificates that the operator trusts.
pub(crate) fn roots<'c>(
    trusted: Option<&'c [CertificateDer<'static>]>,
) -> Result<Vec<TrustAnchor<'c>>, CertificateError> {
    match trusted {
        None => Ok(webpki_roots::TLS_SERVER_ROOTS.to_vec()),
        Some(trusted) => trusted
            .iter()
            .map(|certificate| {
                webpki::anchor_from_trusted_cert(certificate)
                    .map_err(|_| CertificateError::Malformed)
            })
            .collect(),
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the document is not a certificate in PEM",
            Self::Untrusted => "no chain of certificates leads to a root",
            Self::IssuerMissing => "the certificate of the issuer is missing or not trusted",
            Self::WrongName => "the certificate has another name",
            Self::OutsideOfPeriod => "the certificate does not count at this time",
        })
    }
}

impl Error for CertificateError {}
