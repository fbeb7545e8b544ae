//! SHA-256 and HMAC-SHA256 with access to the state, so that two messages can be hashed at
//! once. The crate `sha2` compresses the blocks of a single message.

use std::slice;

use sha2::block_api::compress256;
use zeroize::Zeroizing;

use super::pair;

const BLOCK: usize = 64;
/// Initial state (FIPS 180-4, section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 of the bytes so far.
#[derive(Clone)]
pub(crate) struct Sha256 {
    state: [u32; 8],
    /// Starts with the bytes of the last block, as long as the block is incomplete.
    block: [u8; BLOCK],
    /// Number of bytes so far.
    len: u64,
}

impl Sha256 {
    /// Creates a hash that starts with the bytes `prefix`.
    pub(crate) fn new(prefix: &[u8]) -> Self {
        let mut hash = Self {
            state: START,
            block: [0; BLOCK],
            len: 0,
        };
        hash.update(prefix);
        hash
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.complete(bytes).as_chunks();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
            self.len += blocks.as_flattened().len() as u64;
        }
        self.block[..rest.len()].copy_from_slice(rest);
        self.len += rest.len() as u64;
    }

    /// Updates two hashes at once. Compressing a block of each takes little longer than
    /// compressing a single block.
    pub(crate) fn update_pair(hashes: [&mut Self; 2], bytes: [&[u8]; 2]) {
        let [one, two] = hashes;
        let [bytes_one, bytes_two] = bytes;
        let (bytes_one, bytes_two) = (one.complete(bytes_one), two.complete(bytes_two));
        let blocks = [bytes_one.as_chunks().0, bytes_two.as_chunks().0];
        let taken = BLOCK * pair::compress([&mut one.state, &mut two.state], blocks);
        for (hash, bytes) in [(one, bytes_one), (two, bytes_two)] {
            hash.len += taken as u64;
            hash.update(&bytes[taken..]);
        }
    }

    /// Whether [`update_pair`](Self::update_pair) is faster than two single updates.
    pub(crate) fn pairing_is_faster() -> bool {
        pair::is_supported()
    }

    /// Returns the digest. The hash must not be used afterwards.
    ///
    /// The method does not take `self` by value: moving the state right after small writes to
    /// it stalls the processor.
    pub(crate) fn finish(&mut self) -> [u8; 32] {
        let bits = self.len * 8;
        let end = self.filled();
        self.block[end] = 0x80;
        self.block[end + 1..].fill(0);
        if end >= BLOCK - 8 {
            compress256(&mut self.state, slice::from_ref(&self.block));
            self.block.fill(0);
        }
        self.block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.state, slice::from_ref(&self.block));
        let mut digest = [0; 32];
        let (words, _) = digest.as_chunks_mut();
        for (bytes, word) in words.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }

    /// Fills the incomplete block from `bytes`, and returns the rest of `bytes`. The block is
    /// still incomplete only if no byte is left.
    fn complete<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let from = self.filled();
        if from == 0 {
            return bytes;
        }
        let (more, left) = bytes.split_at(bytes.len().min(BLOCK - from));
        self.block[from..from + more.len()].copy_from_slice(more);
        self.len += more.len() as u64;
        if self.filled() == 0 {
            compress256(&mut self.state, slice::from_ref(&self.block));
        }
        left
    }

    /// Number of bytes in the incomplete block.
    fn filled(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }
}

/// HMAC-SHA256 (RFC 2104) of the bytes so far.
#[derive(Clone)]
pub(crate) struct HmacSha256 {
    pub(super) inner: Sha256,
    /// State of the outer hash, which processes the digest of the inner hash.
    outer: [u32; 8],
}

impl HmacSha256 {
    /// Creates a MAC with a key of any length.
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; BLOCK]);
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Sha256::new(key).finish());
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let padded = |with: u8| {
            let block = Zeroizing::new(block.map(|byte| byte ^ with));
            Sha256::new(&*block)
        };
        Self {
            inner: padded(0x36),
            outer: padded(0x5c).state,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// Returns the MAC. It must not be used afterwards.
    pub(crate) fn finish(&mut self) -> [u8; 32] {
        let inner = self.inner.finish();
        self.inner.state = self.outer;
        self.inner.len = BLOCK as u64;
        self.inner.update(&inner);
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sha2::Digest;

    use super::*;

    fn library(message: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(message).into()
    }

    fn library_mac(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("keys of any length");
        mac.chain_update(message).finalize().into_bytes().into()
    }

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        let byte = |at: usize| (at * 31 + at / 64 * 7) as u8 ^ seed;
        (0..len).map(byte).collect()
    }

    #[test]
    fn digest_and_mac_equal_those_of_the_library_for_any_length() {
        let message = bytes(260, 1);
        for len in 0..=message.len() {
            let message = &message[..len];
            assert_eq!(Sha256::new(message).finish(), library(message), "{len}");
            // The message also serves as the key, so keys longer than a block occur.
            let mut mac = HmacSha256::new(message);
            mac.update(message);
            assert_eq!(mac.finish(), library_mac(message, message), "{len}");
        }
    }

    #[test]
    fn a_pair_of_messages_has_the_same_digests_as_two_single_messages() {
        assert!(Sha256::pairing_is_faster() || cfg!(not(target_arch = "x86_64")));
        // No block, one block and several, at equal and at different offsets in the block.
        let lens = [0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 640, 1000];
        for (before_one, before_two) in [(0, 0), (0, 13), (64, 1), (63, 63), (5, 70)] {
            for len_one in lens {
                for len_two in lens {
                    let one = bytes(before_one + len_one, 1);
                    let two = bytes(before_two + len_two, 2);
                    let mut hash_one = Sha256::new(&one[..before_one]);
                    let mut hash_two = Sha256::new(&two[..before_two]);
                    Sha256::update_pair(
                        [&mut hash_one, &mut hash_two],
                        [&one[before_one..], &two[before_two..]],
                    );
                    let of = (before_one, len_one, before_two, len_two);
                    assert_eq!(hash_one.finish(), library(&one), "{of:?}");
                    assert_eq!(hash_two.finish(), library(&two), "{of:?}");
                }
            }
        }
    }

    #[test]
    fn paired_compression_equals_that_of_the_library_from_any_state() {
        let mut states = [[7; 8], [u32::MAX; 8]];
        let mut expected = states;
        let blocks: [Vec<[u8; 64]>; 2] = [3_u8, 200].map(|seed| {
            let bytes = bytes(64 * 33, seed);
            bytes.as_chunks().0.to_vec()
        });
        let [one, two] = &mut states;
        let taken = pair::compress([one, two], [&blocks[0], &blocks[1][..20]]);
        assert_eq!(taken, if pair::is_supported() { 20 } else { 0 });
        for (state, blocks) in expected.iter_mut().zip(&blocks) {
            compress256(state, &blocks[..taken]);
        }
        assert_eq!(states, expected);
    }

    proptest! {
        #[test]
        fn a_pair_of_messages_in_pieces_has_the_digests_of_the_library(
            one in vec(vec(any::<u8>(), 0..300), 0..8),
            two in vec(vec(any::<u8>(), 0..300), 0..8),
        ) {
            let (mut hash_one, mut hash_two) = (Sha256::new(&[]), Sha256::new(&[]));
            for at in 0..one.len().max(two.len()) {
                let piece = |of: &[Vec<u8>]| of.get(at).cloned().unwrap_or_default();
                let (piece_one, piece_two) = (piece(&one), piece(&two));
                Sha256::update_pair([&mut hash_one, &mut hash_two], [&piece_one, &piece_two]);
            }
            prop_assert_eq!(hash_one.finish(), library(&one.concat()));
            prop_assert_eq!(hash_two.finish(), library(&two.concat()));
        }
    }
}
