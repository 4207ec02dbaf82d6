//! Of which numbers there may be a silence, so that what is delivered asks the database for nearly none.
//!
//! It may say yes where there is none any more, which costs one look. It never says no where there is one: only the process that
//! remembers it writes silences, or it is [read anew](Silent::of) where another may have.

use tidings_domain::address::PhoneNumber;

/// Places: a power of two. They take 128 KiB.
const PLACES_LOG: u32 = 20;
/// After so many additions it is read anew, since what ended is not taken out.
const ADDED_MAX: u32 = 1 << (PLACES_LOG - 2);

/// The numbers, each by one bit.
#[derive(Debug)]
pub(crate) struct Silent {
    bits: Box<[u64]>,
    added: u32,
}

impl Silent {
    /// These numbers, by their digits.
    pub fn of(digits: impl IntoIterator<Item = i64>) -> Self {
        let mut silent = Self { bits: vec![0; (1 << PLACES_LOG) / 64].into_boxed_slice(), added: 0 };
        for digits in digits {
            silent.set(digits);
        }
        silent
    }

    /// To be called when there is a silence of this number.
    pub fn add(&mut self, number: PhoneNumber) {
        self.added += u32::from(self.set(number.digits() as i64));
    }

    /// Whether there may be one.
    pub fn may_have(&self, number: PhoneNumber) -> bool {
        let (word, bit) = place(number.digits() as i64);
        self.bits[word] & bit != 0
    }

    /// Whether so many bits were added that it should be read anew.
    pub const fn is_worn(&self) -> bool {
        self.added >= ADDED_MAX
    }

    /// Whether that is new.
    fn set(&mut self, digits: i64) -> bool {
        let (word, bit) = place(digits);
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        is_new
    }
}

/// Numbers of one block lie far from each other.
const fn place(digits: i64) -> (usize, u64) {
    let place = (digits as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES_LOG);
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_hardly_anything_else() {
        let number = |n: u64| PhoneNumber::from_digits(46_700_000_000 + n).expect("a number");
        let mut silent = Silent::of((0..5_000).map(|n| number(n).digits() as i64));
        (5_000..10_000).for_each(|n| silent.add(number(n)));
        assert!((0..10_000).all(|n| silent.may_have(number(n))));
        let others = (10_000..110_000).filter(|n| silent.may_have(number(*n))).count();
        assert!(others < 2_000, "{others} of 100,000");
        assert!(!silent.is_worn());
        (0..10_000).cycle().take(2 * ADDED_MAX as usize).for_each(|n| silent.add(number(n)));
        assert!(!silent.is_worn(), "what is known already wears nothing out");
        (0..u64::from(2 * ADDED_MAX)).for_each(|n| silent.add(number(n)));
        assert!(silent.is_worn());
    }
}
