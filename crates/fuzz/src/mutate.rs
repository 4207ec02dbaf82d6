//! Makes new inputs out of old ones. A seed gives the same inputs again.

use crate::Target;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.draw() % n as u64) as usize }
    }
}

/// Numbers at which programs change their mind.
const NUMBERS: [u64; 20] = [
    0,
    1,
    2,
    15,
    16,
    17,
    64,
    127,
    128,
    254,
    255,
    256,
    32_767,
    32_768,
    65_535,
    65_536,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    u64::MAX,
];
/// Changes of one input at once, at most.
const CHANGES_MAX: usize = 6;

/// A new input made from one of these, and at times from two.
pub fn mutate(corpus: &[Vec<u8>], target: &Target, random: &mut Random) -> Vec<u8> {
    let mut input = match corpus.len() {
        0 => Vec::new(),
        some => corpus[random.below(some)].clone(),
    };
    for _ in 0..=random.below(CHANGES_MAX) {
        change(&mut input, corpus, target, random);
    }
    input.truncate(target.octets_max);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], target: &Target, random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = random.below(input.len() - at + 1).min(1 + random.below(32));
    match random.below(12) {
        0 => flip(input, random),
        1 => {
            if let Some(octet) = input.get_mut(at) {
                *octet = random.draw() as u8;
            }
        }
        2 => {
            input.splice(at..at + length, []);
        }
        3 => input.truncate(at),
        4 => {
            let copy = input[at..at + length].to_vec();
            let most = if random.below(8) == 0 { 64 } else { 3 };
            let times = 1 + random.below(most);
            input.splice(at..at, copy.repeat(times));
        }
        5 => {
            let new: Vec<u8> = (0..=random.below(8)).map(|_| random.draw() as u8).collect();
            input.splice(at..at, new);
        }
        6 => number(input, at, random),
        7 | 8 => {
            if !target.words.is_empty() {
                let word = target.words[random.below(target.words.len())];
                let over = if random.below(2) == 0 { 0 } else { word.len().min(input.len() - at) };
                input.splice(at..at + over, word.iter().copied());
            }
        }
        9 => {
            if let Some(other) = corpus.get(random.below(corpus.len())) {
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                let rest = if random.below(2) == 0 { input.len() } else { at };
                input.splice(at..rest, other[from..to].iter().copied());
            }
        }
        10 => {
            // Digits are changed into digits, so that what is text stays text.
            if let Some(octet) = input.get_mut(at).filter(|octet| octet.is_ascii_digit()) {
                *octet = b'0' + random.below(10) as u8;
            }
        }
        _ => {
            if let Some(octet) = input.get_mut(at) {
                *octet = octet.wrapping_add(1 + random.below(4) as u8).wrapping_sub(2);
            }
        }
    }
}

fn flip(input: &mut [u8], random: &mut Random) {
    let at = random.below(input.len());
    if let Some(octet) = input.get_mut(at) {
        *octet ^= 1 << random.below(8);
    }
}

/// Writes a number over what is there: binary in some width, in either order, or in digits.
fn number(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let number = NUMBERS[random.below(NUMBERS.len())];
    let octets = match random.below(6) {
        0 => vec![number as u8],
        1 => (number as u16).to_be_bytes().to_vec(),
        2 => (number as u16).to_le_bytes().to_vec(),
        3 => (number as u32).to_be_bytes().to_vec(),
        4 => number.to_string().into_bytes(),
        _ => format!("-{number}").into_bytes(),
    };
    let over = octets.len().min(input.len() - at);
    input.splice(at..at + over, octets);
}
