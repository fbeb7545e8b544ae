use std::ops::Deref;

/// What fits without an allocation: most of what a head adds to a message.
const SHORT: usize = 64;

/// Bytes of a message.
#[derive(Clone)]
pub(super) struct Text {
    /// Where they are as long as they fit.
    short: [u8; SHORT],
    len: usize,
    long: Vec<u8>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            short: [0; SHORT],
            len: 0,
            long: Vec::new(),
        }
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        let mut text = Self::default();
        text.extend_from_slice(bytes);
        text
    }
}

impl Text {
    pub(super) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.short.get_mut(self.len..end) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.short[..self.len]);
                }
                self.long.extend_from_slice(bytes);
            }
        }
        self.len = end;
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        match self.len {
            ..=SHORT => self.to_vec(),
            _ => self.long,
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.short.get(..self.len).unwrap_or(&self.long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_was_put_into_it_however_long() {
        for first in 0..2 * SHORT {
            for second in 0..2 * SHORT {
                let parts = [vec![1; first], vec![2; second], vec![3]];
                let mut text = Text::from(&parts[0][..]);
                text.extend_from_slice(&parts[1]);
                text.extend_from_slice(&[]);
                text.extend_from_slice(&parts[2]);
                assert_eq!(text[..], parts.concat(), "{first} {second}");
                assert_eq!(text.into_vec(), parts.concat(), "{first} {second}");
            }
        }
    }
}
