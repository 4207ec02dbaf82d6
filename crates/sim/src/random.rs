//! Random numbers from a seed. Each decision has numbers of its own, named by labels: so that switching one fault off
//! changes as little else as possible, and a failing seed stays failing while its faults are reduced.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a decision, named by these labels.
    pub fn of(seed: u64, labels: &[u64]) -> Self {
        let mut state = mixed(seed);
        for label in labels {
            state = mixed(state ^ mixed(*label));
        }
        Self(state)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// From 0 to below `n`, which must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// Between these two, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1).max(1))
    }

    /// So many times in a thousand.
    pub fn hits(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of these, which must not be empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(from.len() as u64)).expect("it is below a length");
        &from[place]
    }
}

/// Every bit of the result depends on every bit of the input.
const fn mixed(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
