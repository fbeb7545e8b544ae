//! A body and the progress of its hash. The bytes do not matter to the models.

/// The hash of a body of `len` bytes.
#[derive(Debug)]
pub struct BodyHash {
    pub delivery: usize,
    len: usize,
    hashed: usize,
}

impl BodyHash {
    pub fn new(delivery: usize, len: usize) -> Self {
        Self {
            delivery,
            len,
            hashed: 0,
        }
    }

    pub fn remaining(&self) -> usize {
        self.len - self.hashed
    }

    pub fn hash_remaining(&mut self) {
        self.hashed = self.len;
    }

    pub fn update_pair(one: &mut Self, two: &mut Self) {
        assert_ne!(one.delivery, two.delivery, "a delivery pairs with itself");
        let len = one.remaining().min(two.remaining());
        one.hashed += len;
        two.hashed += len;
    }
}

/// A delivery whose body has arrived.
#[derive(Debug)]
pub struct Pending<'v> {
    hash: Option<BodyHash>,
    _verifier: std::marker::PhantomData<&'v ()>,
}

impl Pending<'_> {
    pub fn new(delivery: usize, len: usize) -> Self {
        Self {
            hash: Some(BodyHash::new(delivery, len)),
            _verifier: std::marker::PhantomData,
        }
    }

    pub fn take_body_hash(&mut self, min: usize) -> Option<BodyHash> {
        self.hash.take_if(|hash| hash.remaining() >= min)
    }

    pub fn restore_body_hash(&mut self, hash: BodyHash) {
        let earlier = self.hash.replace(hash);
        assert!(earlier.is_none(), "a delivery has two hashes");
    }

    /// Returns the hash, which is complete.
    pub fn finish(self) -> BodyHash {
        let hash = self.hash.expect("the hash came back");
        assert_eq!(hash.remaining(), 0, "the body is hashed in part");
        hash
    }
}
