//! A variant of a provider under test, with its keys and good deliveries.

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, Provider, RequestOutcome, Scheme, Secret, Signer, UnixTime, Variant,
    Verified, Verifier, VerifyError,
};
use http::{Method, Request};

use super::{BODY, NOW, SECRET, URL};

/// Key pairs that exist only for these tests: private key, public key.
const ED25519: [&str; 2] = [
    include_str!("../keys/ed25519.private.pem"),
    include_str!("../keys/ed25519.public.pem"),
];
const P256: [&str; 2] = [
    include_str!("../keys/p256.private.pem"),
    include_str!("../keys/p256.public.pem"),
];
const P521: [&str; 2] = [
    include_str!("../keys/p521.private.pem"),
    include_str!("../keys/p521.public.pem"),
];
const RSA: [&str; 2] = [
    include_str!("../keys/rsa.private.pem"),
    include_str!("../keys/rsa.public.pem"),
];

/// A variant of a provider, with the keys to sign and to verify.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) variant: Option<String>,
    private: Secret,
    pub(crate) public: Secret,
    spelling: usize,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for name in Provider::names() {
            let provider = Provider::named(name).unwrap();
            for variant in provider.scheme().variants() {
                let (private, public, spelling) = keys(provider.scheme(), variant);
                cases.push(Self {
                    name: format!("{name} {}", variant.name().unwrap_or_default()),
                    scheme: provider.scheme().clone(),
                    variant: variant.name().map(str::to_owned),
                    private,
                    public,
                    spelling,
                });
            }
        }
        cases
    }

    pub(crate) fn this(&self) -> Variant<'_> {
        let mut variants = self.scheme.variants();
        variants
            .find(|variant| variant.name() == self.variant.as_deref())
            .unwrap()
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.try_verifier()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(crate) fn try_verifier(&self) -> Result<Verifier, BuildError> {
        self.verifier_of([&self.public])
    }

    pub(crate) fn verifier_of<'s>(
        &self,
        secrets: impl IntoIterator<Item = &'s Secret>,
    ) -> Result<Verifier, BuildError> {
        let mut builder = Verifier::builder(&self.scheme);
        for secret in secrets {
            builder = builder.key(secret.clone());
        }
        if self.scheme.needs_url() {
            builder = builder.url(URL);
        }
        for param in self.scheme.params() {
            builder = builder.param(param, "hookgate");
        }
        if self.this().is_opt_in() {
            builder = builder.variant(self.variant.clone().unwrap());
        }
        builder.build()
    }

    /// Returns a good delivery.
    pub(crate) fn signed(&self) -> Request<Bytes> {
        self.signed_of(Bytes::from_static(BODY.as_bytes()))
    }

    /// Returns a good delivery of `body`. A GET delivery has no body.
    pub(crate) fn signed_of(&self, mut body: Bytes) -> Request<Bytes> {
        if *self.this().method() != Method::POST {
            body.clear();
        }
        let mut signer = Signer::builder(&self.scheme, &self.private);
        if self.scheme.needs_url() {
            signer = signer.url(URL);
        }
        for param in self.scheme.params() {
            signer = signer.param(param, "hookgate");
        }
        if let Some(variant) = &self.variant {
            signer = signer.variant(variant);
        }
        let signer = signer
            .build()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let request = Request::post("/in").body(body).unwrap();
        signer
            .sign_request(request, NOW, Some("msg_1"))
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(crate) fn verify(&self, request: &Request<Bytes>) -> Result<Verified, VerifyError> {
        self.verify_at(request, NOW)
    }

    pub(crate) fn verify_at(
        &self,
        request: &Request<Bytes>,
        now: UnixTime,
    ) -> Result<Verified, VerifyError> {
        let checked = self
            .verifier()
            .verify(Head::from(request), request.body().clone(), now)?;
        match checked {
            RequestOutcome::Delivery(verified) => Ok(verified),
            RequestOutcome::Handshake(_) => {
                panic!("{}: a delivery was taken for a handshake", self.name)
            }
        }
    }
}

/// Returns other secrets, in the spelling that the secret of `case` has.
pub(crate) fn other_secrets(case: &Case) -> Vec<Secret> {
    let other = |digit| {
        let text = SECRET.replace('5', digit);
        Secret::new(&*spellings(&text)[case.spelling]).unwrap()
    };
    ["1", "2", "3", "4"].map(other).into()
}

/// Returns the spellings in which a scheme may expect `text`, a hexadecimal secret or a PEM key.
fn spellings(text: &str) -> [String; 4] {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let lines = text.lines().filter(|line| !line.starts_with("---"));
    let inner: String = lines.collect();
    let bytes = hex::decode(&inner).unwrap_or_else(|_| STANDARD.decode(&inner).unwrap());
    let base64 = STANDARD.encode(&bytes);
    [
        text.trim().to_owned(),
        base64.clone(),
        hex::encode(&bytes),
        format!("whsec_{base64}"),
    ]
}

/// Returns the private and the public key that fit `variant`, and the index of their spelling in
/// [`spellings`].
fn keys(scheme: &Scheme, variant: Variant<'_>) -> (Secret, Secret, usize) {
    let pair = match variant.algorithm() {
        "ed25519" => ED25519,
        name if name.ends_with("es512") => P521,
        name if name.contains("p256") || name.ends_with("es256") => P256,
        name if name.starts_with("rsa") || name.ends_with("rs256") => RSA,
        _ => [SECRET; 2],
    };
    let build = |secret: &Secret| {
        let mut builder = Verifier::builder(scheme).key(secret.clone());
        if scheme.needs_url() {
            builder = builder.url(URL);
        }
        for param in scheme.params() {
            builder = builder.param(param, "hookgate");
        }
        if let Some(name) = variant.name() {
            builder = builder.variant(name);
        }
        builder.build().is_ok()
    };
    let [privates, publics] =
        pair.map(|text| spellings(text).map(|text| Secret::new(text).unwrap()));
    let spelling = publics.iter().position(build).unwrap();
    (
        privates[spelling].clone(),
        publics[spelling].clone(),
        spelling,
    )
}
