//! Every provider of the catalogue, in each of its variants: what is signed
//! verifies, and what was tampered with does not, for a reason that fits.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use hookgate_core::internal::{BodyHash, restore_body_hash, take_body_hash};
use hookgate_core::{
    BuildError, Head, HeadOutcome, Pending, Provider, ReplayScope, RequestOutcome, Scheme,
    SchemeFamily, SchemeWarning, Secret, Signer, UnixTime, Variant, Verified, Verifier,
    VerifyError, Window,
};
use http::{HeaderValue, Method, Request};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const URL: &str = "https://hooks.example.com/in";
const BODY: &str = r#"{"id":"evt_1","type":"t"}"#;

/// Fits every key rule but those of public keys: 64 hexadecimal digits are base64
/// as well.
const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";

/// Key pairs made for these tests.
const ED25519: [&str; 2] = [
    include_str!("keys/ed25519.private.pem"),
    include_str!("keys/ed25519.public.pem"),
];
const P256: [&str; 2] = [
    include_str!("keys/p256.private.pem"),
    include_str!("keys/p256.public.pem"),
];
const RSA: [&str; 2] = [
    include_str!("keys/rsa.private.pem"),
    include_str!("keys/rsa.public.pem"),
];

/// A variant of a provider, and how to sign for it. All variants are verified.
struct Case {
    name: String,
    scheme: Scheme,
    variant: Option<String>,
    private: Secret,
    public: Secret,
    spelling: usize,
}

impl Case {
    fn all() -> Vec<Self> {
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

    fn this(&self) -> Variant<'_> {
        let mut variants = self.scheme.variants();
        variants
            .find(|variant| variant.name() == self.variant.as_deref())
            .unwrap()
    }

    fn verifier(&self) -> Verifier {
        self.try_verifier()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn try_verifier(&self) -> Result<Verifier, BuildError> {
        self.verifier_of([&self.public])
    }

    fn verifier_of<'s>(
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

    /// A good delivery.
    fn signed(&self) -> Request<Bytes> {
        self.signed_of(Bytes::from_static(BODY.as_bytes()))
    }

    fn signed_of(&self, body: Bytes) -> Request<Bytes> {
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

    fn verify(&self, request: &Request<Bytes>) -> Result<Verified, VerifyError> {
        self.verify_at(request, NOW)
    }

    fn verify_at(&self, request: &Request<Bytes>, now: UnixTime) -> Result<Verified, VerifyError> {
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

/// Other secrets, spelled as that of `case` is.
fn other_secrets(case: &Case) -> Vec<Secret> {
    let other = |digit| {
        let text = SECRET.replace('5', digit);
        Secret::new(&*spellings(&text)[case.spelling]).unwrap()
    };
    ["1", "2", "3", "4"].map(other).into()
}

/// How a scheme may want a secret to be spelled, which is hexadecimal here or PEM.
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

/// The private and the public key that fit `variant`, and which of the [`spellings`] that is.
fn keys(scheme: &Scheme, variant: Variant<'_>) -> (Secret, Secret, usize) {
    let pair = match variant.algorithm() {
        "ed25519" => ED25519,
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

#[test]
fn what_is_signed_verifies_for_every_provider() {
    for case in Case::all() {
        let request = case.signed();
        let verified = case.verify(&request);
        assert!(
            verified.is_ok(),
            "{}: {:?} {request:?}",
            case.name,
            verified.unwrap_err()
        );
        assert_eq!(verified.unwrap().body(), request.body(), "{}", case.name);
    }
}

/// A body is hashed at the end, or before that by whoever holds the delivery.
#[test]
fn a_body_in_pieces_is_the_same_body() {
    let mut refused = 0;
    let mut worked = 0;
    let long = format!("{BODY}{}", " ".repeat(150_000));
    for case in Case::all() {
        for (body, lens) in [(BODY, [1, 7, 24]), (&long, [997, 40_000, 150_000])] {
            let good = case.signed_of(body.to_owned().into());
            let mut forged = good.clone();
            let mut body = BytesMut::from(&forged.body()[..]);
            if let Some(last) = body.last_mut() {
                *last ^= 1;
            }
            *forged.body_mut() = body.freeze();
            for request in [good, forged] {
                let whole = case.verify(&request);
                refused += usize::from(whole.is_err());
                for (len, hands) in lens.into_iter().flat_map(|len| [(len, false), (len, true)]) {
                    let mut work = |pending: &mut Pending<'_>| {
                        if let Some(mut work) = hands.then(|| take_body_hash(pending, 10)).flatten()
                        {
                            worked += 1;
                            work.hash_remaining();
                            restore_body_hash(pending, work);
                        }
                    };
                    let in_pieces = in_pieces(&case.verifier(), &request, len, &mut work);
                    assert_same(&case, &request, len, &whole, in_pieces);
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
    assert!(worked > 1000 || !BodyHash::pairing_is_faster(), "{worked}");
}

/// A very long one is hashed as it comes, with every algorithm that can.
#[test]
fn a_body_that_is_hashed_as_it_comes_is_the_same_body() {
    let mut algorithms = BTreeSet::new();
    let body = format!("{BODY}{}", " ".repeat(2_300_000));
    for case in Case::all() {
        let algorithm = case.this().algorithm();
        if algorithms.contains(algorithm) {
            continue;
        }
        let good = case.signed_of(body.clone().into());
        // Some providers send a token instead.
        if good.body().len() < body.len() {
            continue;
        }
        algorithms.insert(algorithm.to_owned());
        let mut forged = good.clone();
        let mut other = BytesMut::from(&forged.body()[..]);
        other[1_100_000] ^= 1;
        *forged.body_mut() = other.freeze();
        for request in [good, forged] {
            let whole = case.verify(&request);
            for len in [70_001, 1_200_000] {
                let in_pieces = in_pieces(&case.verifier(), &request, len, &mut |_| {});
                assert_same(&case, &request, len, &whole, in_pieces);
            }
        }
    }
    assert!(algorithms.len() > 5, "{algorithms:?}");
}

/// Several keys are hashed side by side, in pairs and with one left over: the one that
/// signed is found at any place among them, and none of them where it is missing.
#[test]
fn any_of_several_keys_may_have_signed() {
    let mut several = 0;
    let mut algorithms = BTreeSet::new();
    let long = format!("{BODY}{}", " ".repeat(1_100_000));
    for case in Case::all() {
        if case.this().has_public_key() {
            continue;
        }
        let others = other_secrets(&case);
        let is_new = algorithms.insert(case.this().algorithm().to_owned());
        let bodies = [BODY, &long[..300], &long[..]];
        for (index, body) in bodies.into_iter().enumerate() {
            let request = case.signed_of(body.to_owned().into());
            let counts = match (index, is_new) {
                (2, true) => 3..=3,
                (2, false) => break,
                _ => 1..=others.len(),
            };
            for count in counts {
                let mut secrets: Vec<&Secret> = others[..count].iter().collect();
                let without = case.verifier_of(secrets.clone()).unwrap();
                let place = several % (count + 1);
                secrets.insert(place, &case.public);
                let with = case.verifier_of(secrets).unwrap();
                // At once, and some of it hashed as it comes.
                for len in [usize::MAX, 1_050_000] {
                    let verify = |verifier| in_pieces(verifier, &request, len, &mut |_| {});
                    let error = verify(&without).unwrap_err();
                    assert_eq!(error, VerifyError::SignatureMismatch, "{}", case.name);
                    let verified = verify(&with);
                    let key = verified.as_ref().map(Verified::key_id);
                    assert_eq!(key, Ok(&*(place + 1).to_string()), "{}", case.name);
                }
                several += 1;
            }
        }
    }
    assert!(several > 500, "{several}");
}

fn assert_same(
    case: &Case,
    request: &Request<Bytes>,
    len: usize,
    whole: &Result<Verified, VerifyError>,
    in_pieces: Result<Verified, VerifyError>,
) {
    match (whole, in_pieces) {
        (Ok(whole), Ok(in_pieces)) => {
            assert_eq!(in_pieces.body(), request.body(), "{}", case.name);
            assert_eq!(in_pieces.id(), whole.id(), "{}", case.name);
        }
        (Err(whole), Err(in_pieces)) => {
            assert_eq!(in_pieces, *whole, "{}", case.name);
        }
        (whole, in_pieces) => {
            panic!("{} by {len}: {whole:?}, {in_pieces:?}", case.name)
        }
    }
}

fn in_pieces(
    verifier: &Verifier,
    request: &Request<Bytes>,
    len: usize,
    work: &mut dyn FnMut(&mut Pending<'_>),
) -> Result<Verified, VerifyError> {
    let HeadOutcome::Delivery(mut pending) = verifier.begin(Head::from(request), NOW)? else {
        panic!("a delivery was taken for a handshake: {request:?}");
    };
    for (index, piece) in request.body().chunks(len).enumerate() {
        pending.push(Bytes::new());
        match index % 3 {
            1 => pending.push(BytesMut::from(piece)),
            _ => pending.push(Bytes::copy_from_slice(piece)),
        }
        work(&mut pending);
    }
    Ok(pending.finish(NOW)?.delivery().unwrap())
}

/// Each of two deliveries in pieces of its own, some of it hashed before.
#[test]
fn two_bodies_side_by_side_are_each_its_own() {
    if !BodyHash::pairing_is_faster() {
        return;
    }
    let cases = Case::all();
    let of_shape = |name: &str| {
        cases
            .iter()
            .find(|case| case.name.starts_with(name))
            .unwrap()
    };
    // One begins with what the head says, one is the body alone.
    let cases = [of_shape("standard-webhooks"), of_shape("github")];
    let lens = [20_000, 30_001, 100_000];
    let mut refused = 0;
    for (one, two) in [(0, 0), (0, 1), (1, 1)].map(|(one, two)| (cases[one], cases[two])) {
        for (len_one, len_two) in lens.iter().flat_map(|one| lens.map(|two| (*one, two))) {
            for (piece_one, piece_two) in [(5000, 7001), (9999, 200_000), (64, 4097)] {
                for forged in [None, Some(0), Some(1)] {
                    let request = |case: &Case, index: usize, len: usize| {
                        let body = format!("{BODY}{}", ["a", "b"][index].repeat(len));
                        let mut request = case.signed_of(body.into());
                        if forged == Some(index) {
                            let mut body = BytesMut::from(&request.body()[..]);
                            body[len / 2] ^= 1;
                            *request.body_mut() = body.freeze();
                        }
                        request
                    };
                    let requests = [request(one, 0, len_one), request(two, 1, len_two)];
                    let verifiers = [one.verifier(), two.verifier()];
                    let mut pendings = [0, 1].map(|index| {
                        let begun = verifiers[index].begin(Head::from(&requests[index]), NOW);
                        let Ok(HeadOutcome::Delivery(mut pending)) = begun else {
                            panic!("a good head");
                        };
                        let pieces = requests[index].body().chunks([piece_one, piece_two][index]);
                        for (at, piece) in pieces.enumerate() {
                            pending.push(BytesMut::from(piece));
                            if at == 1 {
                                let mut work = take_body_hash(&mut pending, 1).unwrap();
                                work.hash_remaining();
                                restore_body_hash(&mut pending, work);
                            }
                        }
                        pending
                    });
                    let works = pendings
                        .each_mut()
                        .map(|pending| take_body_hash(pending, 1));
                    let [Some(mut work_one), Some(mut work_two)] = works else {
                        continue;
                    };
                    BodyHash::update_pair(&mut work_one, &mut work_two);
                    assert!(work_one.remaining() == 0 || work_two.remaining() == 0);
                    let [mut pending_one, mut pending_two] = pendings;
                    restore_body_hash(&mut pending_one, work_one);
                    restore_body_hash(&mut pending_two, work_two);
                    for (index, pending) in [pending_one, pending_two].into_iter().enumerate() {
                        let checked = pending.finish(NOW);
                        if forged == Some(index) {
                            assert_eq!(checked.unwrap_err(), VerifyError::SignatureMismatch);
                            refused += 1;
                        } else {
                            let verified = checked.unwrap().delivery().unwrap();
                            assert_eq!(verified.body(), requests[index].body());
                        }
                    }
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn another_body_is_refused_unless_the_scheme_says_that_it_is_not_signed() {
    let mut refused = 0;
    let scope = ReplayScope::new(&["test"]);
    for case in Case::all() {
        let warnings = case.this().warnings();
        let request = case.signed();
        let genuine = case.verify(&request).unwrap().replay_keys(&scope);
        for at in 0..request.body().len() {
            let mut body = request.body().to_vec();
            body[at] ^= 1;
            let (parts, _) = request.clone().into_parts();
            let outcome = case.verify(&Request::from_parts(parts, body.into()));
            if warnings.contains(&SchemeWarning::SignsNothing)
                || warnings.contains(&SchemeWarning::BodyUnbound)
            {
                continue;
            }
            match outcome {
                Err(_) => refused += 1,
                // A signature inside of the body has parts that nobody signs; the
                // event stays the same.
                Ok(verified) => {
                    assert!(request.headers().is_empty(), "{}: byte {at}", case.name);
                    assert_eq!(
                        verified.replay_keys(&scope),
                        genuine,
                        "{}: byte {at}",
                        case.name
                    );
                }
            }
        }
    }
    assert!(refused > 3_000, "{refused}");
}

#[test]
fn another_key_is_refused() {
    let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let mut refused = 0;
    for mut case in Case::all() {
        let request = case.signed();
        let others = [
            other,
            &other[6..],
            "30313233343536373839616263646566303132333435363738396162",
        ];
        let usable = others.iter().find(|text| {
            case.public = Secret::new(**text).unwrap();
            case.try_verifier().is_ok()
        });
        if usable.is_none() {
            assert!(case.this().has_public_key(), "{}", case.name);
            continue;
        }
        assert_eq!(
            case.verify(&request).unwrap_err(),
            VerifyError::SignatureMismatch,
            "{}",
            case.name
        );
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

/// Which errors may follow from a field of the head that is not as it was.
const HEAD: [VerifyError; 15] = [
    VerifyError::SignatureMissing,
    VerifyError::SignatureRepeated,
    VerifyError::SignatureMalformed,
    VerifyError::SignatureVersionUnknown,
    VerifyError::SignatureTooMany,
    VerifyError::SignatureMismatch,
    VerifyError::TimestampMissing,
    VerifyError::TimestampRepeated,
    VerifyError::TimestampMalformed,
    VerifyError::TimestampTooOld,
    VerifyError::TimestampTooNew,
    VerifyError::FieldMissing,
    VerifyError::FieldRepeated,
    VerifyError::FieldMalformed,
    VerifyError::RequirementUnmet,
];

#[test]
fn every_header_removed_doubled_emptied_cut_short_or_extended_is_refused() {
    let mut refused = 0;
    for case in Case::all() {
        let signed = case.signed();
        for (field, value) in signed.headers() {
            if field == http::header::CONTENT_TYPE {
                continue;
            }
            let value = value.as_bytes();
            let changed = |bytes: &[u8]| {
                let mut request = signed.clone();
                let value = HeaderValue::from_bytes(bytes).unwrap();
                request.headers_mut().insert(field, value);
                request
            };
            let mut removed = signed.clone();
            removed.headers_mut().remove(field);
            let mut doubled = signed.clone();
            let again = HeaderValue::from_bytes(value).unwrap();
            doubled.headers_mut().append(field, again);
            let cases = [
                ("removed", removed),
                ("doubled", doubled),
                ("emptied", changed(b"")),
                ("cut short", changed(&value[..value.len() - 1])),
                ("extended", changed(&[value, b"0"].concat())),
            ];
            for (change, request) in cases {
                let name = &case.name;
                let error = match case.verify(&request) {
                    Err(error) => error,
                    // A token signs no other header.
                    Ok(_) if case.this().is_token() => continue,
                    Ok(_) => panic!("{name}: {field} {change}"),
                };
                assert!(HEAD.contains(&error), "{name}: {field} {change}: {error}");
                let rfc9421 = case.this().family() == SchemeFamily::MessageSignature;
                let expected = match change {
                    "removed" => error.label().ends_with("_missing"),
                    // Lines of one field are one value there.
                    "doubled" => rfc9421 || error.label().ends_with("_repeated"),
                    _ => true,
                };
                assert!(expected, "{name}: {field} {change}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 800, "{refused}");
}

#[test]
fn every_timestamp_outside_its_window_is_refused() {
    let mut checked = 0;
    for case in Case::all() {
        let Some(window) = case.this().window() else {
            continue;
        };
        let request = case.signed();
        let at = |now| case.verify_at(&request, now).map(drop);
        let second = std::time::Duration::from_secs(1);
        let name = &case.name;
        // Tokens have an end of their own besides.
        if case.this().family() != SchemeFamily::Jwt {
            assert_eq!(at(NOW.plus(window.past())), Ok(()), "{name}");
        }
        assert_eq!(at(NOW.minus(window.future())), Ok(()), "{name}");
        let late = NOW.plus(window.past() + second);
        let early = NOW.minus(window.future() + second);
        assert_eq!(at(late), Err(VerifyError::TimestampTooOld), "{name}");
        assert_eq!(at(early), Err(VerifyError::TimestampTooNew), "{name}");
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn a_window_that_the_operator_sets_holds_instead() {
    let second = std::time::Duration::from_secs(1);
    for case in Case::all() {
        if case.this().window().is_none() || case.this().family() == SchemeFamily::Jwt {
            continue;
        }
        let mut builder = Verifier::builder(&case.scheme)
            .key(case.public.clone())
            .window(Window::new(second, second));
        if case.scheme.needs_url() {
            builder = builder.url(URL);
        }
        for param in case.scheme.params() {
            builder = builder.param(param, "hookgate");
        }
        if let Some(variant) = &case.variant {
            builder = builder.variant(variant);
        }
        let verifier = builder.build().unwrap();
        let request = case.signed();
        let outcome = verifier.verify(
            Head::from(&request),
            request.body().clone(),
            NOW.plus(2 * second),
        );
        assert_eq!(
            outcome.unwrap_err(),
            VerifyError::TimestampTooOld,
            "{}",
            case.name
        );
    }
}

#[test]
fn the_catalogue_has_every_shape() {
    let providers = Provider::names().count();
    assert!(providers >= 130, "{providers}");
    for family in SchemeFamily::ALL {
        let any = Case::all()
            .iter()
            .any(|case| case.this().family() == family);
        assert!(
            any || family == SchemeFamily::MessageSignature,
            "{family:?}"
        );
    }
}

#[test]
fn other_methods_are_no_deliveries() {
    // The check is the gate's; a verifier has handshakes for some methods.
    for case in Case::all() {
        let answers: Vec<Method> = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]
            .into_iter()
            .filter(|method| case.verifier().is_handshake_method(method))
            .collect();
        let handshakes = case.scheme.handshakes();
        assert_eq!(answers.is_empty(), handshakes.is_empty(), "{}", case.name);
    }
}
