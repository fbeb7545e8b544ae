//! Bodies that arrive in pieces, and several keys: the verdict is that of the whole body.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use hookgate_core::internal::{BodyHash, restore_body_hash, take_body_hash};
use hookgate_core::{Head, HeadOutcome, Pending, Secret, Verified, Verifier, VerifyError};
use http::Request;

use super::case::{Case, other_secrets};
use super::{BODY, NOW};

/// Each case runs twice: the verifier hashes the body at its end, or the test takes the hash
/// out after each piece, as `hash_paired` does.
#[test]
fn a_body_in_pieces_has_the_verdict_of_the_whole_body() {
    let mut refused = 0;
    let mut early_hashes = 0;
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
                for (len, takes_hash) in
                    lens.into_iter().flat_map(|len| [(len, false), (len, true)])
                {
                    let mut hash_early = |pending: &mut Pending<'_>| {
                        if let Some(mut hash) =
                            takes_hash.then(|| take_body_hash(pending, 10)).flatten()
                        {
                            early_hashes += 1;
                            hash.hash_remaining();
                            restore_body_hash(pending, hash);
                        }
                    };
                    let in_pieces = in_pieces(&case.verifier(), &request, len, &mut hash_early);
                    assert_same(&case, &request, len, &whole, in_pieces);
                }
            }
        }
    }
    assert!(refused > 100, "{refused}");
    assert!(
        early_hashes > 1000 || !BodyHash::pairing_is_faster(),
        "{early_hashes}"
    );
}

/// A very long body is hashed while it arrives. Tests each algorithm that can do so.
#[test]
fn a_body_that_is_hashed_while_it_arrives_has_the_same_verdict() {
    let mut algorithms = BTreeSet::new();
    let body = format!("{BODY}{}", " ".repeat(2_300_000));
    for case in Case::all() {
        let algorithm = case.this().algorithm();
        if algorithms.contains(algorithm) {
            continue;
        }
        let good = case.signed_of(body.clone().into());
        // Some providers send a token in place of the body.
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

/// Several keys are hashed in pairs, the last one alone. The signing key is found at any index. If it
/// is missing, the delivery is refused.
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
                // The whole body at once, and in pieces that are partly hashed while they arrive.
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

/// Two bodies that arrive in different pieces are hashed as a pair.
#[test]
fn two_bodies_that_are_hashed_as_a_pair_keep_their_own_verdicts() {
    if !BodyHash::pairing_is_faster() {
        return;
    }
    let cases = Case::all();
    let named = |name: &str| {
        cases
            .iter()
            .find(|case| case.name.starts_with(name))
            .unwrap()
    };
    // One message begins with values of the head, the other is the body alone.
    let cases = [named("standard-webhooks"), named("github")];
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

/// Asserts that the delivery in pieces of `len` bytes has the verdict of the whole delivery.
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

/// Verifies `request` in pieces of `len` bytes. `work` runs after each piece.
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
