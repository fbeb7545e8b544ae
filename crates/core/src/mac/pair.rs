//! SHA-256 compression of two messages at once, with the SHA extensions of x86.
//!
//! In one message, each pair of rounds waits for the result of the pair before it, and the
//! execution unit idles. With two messages the unit is busy, so both together take little
//! longer than one. The crate `sha2` does not offer this.

/// Compresses the blocks of two messages into their states, as many of each as the shorter
/// message has. Returns that number, or 0 if the processor lacks the instructions.
pub(super) fn compress(states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_supported() {
        #[expect(
            unsafe_code,
            reason = "a function compiled for instructions that are detected at run time is unsafe to call"
        )]
        // SAFETY: the processor has the instructions that `x86::compress` is compiled for, and
        // the function accesses memory only through slices and arrays.
        return unsafe { x86::compress(states, blocks) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (states, blocks);
    0
}

/// Whether the processor has the instructions that [`compress`] needs.
pub(super) fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };
    use std::array;

    /// The round constants (FIPS 180-4, section 4.2.2), in groups of four.
    const ROUNDS: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// A state in the layout of the instructions: each half from its last word to its first.
    #[derive(Clone, Copy)]
    struct State {
        abef: __m128i,
        cdgh: __m128i,
    }

    #[target_feature(enable = "sha,sse4.1")]
    pub(super) fn compress(states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) -> usize {
        let [one, two] = states;
        let mut both = [load(one), load(two)];
        let pairs = blocks[0].iter().zip(blocks[1]);
        let count = pairs.len();
        for (block_one, block_two) in pairs {
            let before = both;
            let mut words = [words_of(block_one), words_of(block_two)];
            // The compiler unrolls this loop over a block, so the indexed values stay in
            // registers.
            for (round, constants) in ROUNDS.iter().enumerate() {
                let constants = vector(*constants);
                for (state, words) in both.iter_mut().zip(&mut words) {
                    let four = if round < 4 {
                        words[round]
                    } else {
                        schedule(words)
                    };
                    rounds(state, _mm_add_epi32(four, constants));
                }
            }
            for (state, before) in both.iter_mut().zip(before) {
                state.abef = _mm_add_epi32(state.abef, before.abef);
                state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
            }
        }
        *one = store(both[0]);
        *two = store(both[1]);
        count
    }

    /// Runs four rounds on the state of one message. `added` holds, for each round, the sum of
    /// its schedule word and its constant.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn rounds(state: &mut State, added: __m128i) {
        state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, added);
        let last_two = _mm_shuffle_epi32(added, 0x0e);
        state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, last_two);
    }

    /// Returns the next four words of the schedule, which replace the four oldest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn schedule(words: &mut [__m128i; 4]) -> __m128i {
        let [first, second, third, fourth] = *words;
        let from_seventh = _mm_alignr_epi8(fourth, third, 4);
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), from_seventh);
        let next = _mm_sha256msg2_epu32(sum, fourth);
        *words = [second, third, fourth, next];
        next
    }

    /// Reads a block as big-endian words.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn words_of(block: &[u8; 64]) -> [__m128i; 4] {
        let turned = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let (halves, _) = block.as_chunks();
        array::from_fn(|four| {
            let [low, high] = [0, 1].map(|half| i64::from_le_bytes(halves[2 * four + half]));
            _mm_shuffle_epi8(_mm_set_epi64x(high, low), turned)
        })
    }

    /// Packs four words into a vector, the first into the lowest lane.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn vector(words: [u32; 4]) -> __m128i {
        let [first, second, third, fourth] = words.map(u32::cast_signed);
        _mm_set_epi32(fourth, third, second, first)
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn load(state: &[u32; 8]) -> State {
        let [a, b, c, d, e, f, g, h] = *state;
        State {
            abef: vector([f, e, b, a]),
            cdgh: vector([h, g, d, c]),
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn store(state: State) -> [u32; 8] {
        let State { abef, cdgh } = state;
        [
            _mm_extract_epi32(abef, 3),
            _mm_extract_epi32(abef, 2),
            _mm_extract_epi32(cdgh, 3),
            _mm_extract_epi32(cdgh, 2),
            _mm_extract_epi32(abef, 1),
            _mm_extract_epi32(abef, 0),
            _mm_extract_epi32(cdgh, 1),
            _mm_extract_epi32(cdgh, 0),
        ]
        .map(i32::cast_unsigned)
    }
}
