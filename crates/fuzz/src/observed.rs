//! What a target observed, as a number: equal for inputs that went the same way.

/// Gathers what was observed.
#[derive(Debug, Clone, Copy)]
pub struct Observed(u64);

impl Observed {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// A fact: a kind of error, a state.
    #[must_use]
    pub const fn and(self, fact: u64) -> Self {
        Self((self.0 ^ fact).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23))
    }

    /// A word, such as the name of an error.
    #[must_use]
    pub fn word(self, word: &str) -> Self {
        word.bytes().fold(self.and(word.len() as u64), |observed, octet| observed.and(octet.into()))
    }

    /// A size: exactly while it is small, then only how many binary digits it has.
    #[must_use]
    pub const fn size(self, size: usize) -> Self {
        self.and(if size < 8 { size as u64 } else { 64 + size.ilog2() as u64 })
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl Default for Observed {
    fn default() -> Self {
        Self::new()
    }
}
