//! The form of bearer tokens: made, read and checked here, so that the API and the command line agree.
//!
//! `tid_live_` or `tid_test_`, 8 characters that the record is found by, `_`, 32 random characters, and 6 of a
//! checksum over everything before, all of base 62. The checksum lets a typing error and a made-up token be refused
//! without asking the store, and lets scanners find leaked tokens without false alarms:
//! `tid_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}`. Only [`Parsed::hash`] is ever stored. 32 characters of base 62
//! are 190 bits, so one round of SHA-256 is enough.

use sha2::{Digest, Sha256};
use std::fmt;
use tidings_domain::account::Environment;

/// Random octets that a token is made of; base 62 takes 8 bits or so for a character, see [`base62`].
pub const RANDOM_OCTETS: usize = 64;

const LOOKUP: usize = 8;
const SECRET: usize = 32;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new token. The text is shown once; the record keeps lookup and hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// The whole token, for its owner.
    pub text: String,
    /// The public part that its record is found by.
    pub lookup: String,
    /// SHA-256 of the secret part, for the record.
    pub hash: [u8; 32],
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Minted({})", self.lookup)
    }
}

/// Makes a token out of random octets.
pub fn mint(environment: Environment, random: [u8; RANDOM_OCTETS]) -> Minted {
    let digits = base62(&random);
    let (lookup, rest) = digits.split_at(LOOKUP);
    finish(environment, lookup, &rest[..SECRET])
}

/// Makes a new secret for the record with this public part: a rotation.
pub fn mint_for(environment: Environment, lookup: &str, random: [u8; RANDOM_OCTETS]) -> Minted {
    finish(environment, lookup, &base62(&random)[..SECRET])
}

/// How every token of the record with this public part begins.
pub fn prefix(environment: Environment, lookup: &str) -> String {
    format!("tid_{}_{lookup}", environment.as_str())
}

fn finish(environment: Environment, lookup: &str, secret: &str) -> Minted {
    let mut text = format!("{}_{secret}", prefix(environment, lookup));
    let checksum = checksum(&text);
    text.push_str(&checksum);
    Minted { lookup: lookup.to_owned(), hash: hash(secret), text }
}

/// Random octets as at least 40 characters, each as likely as the other: octets of 248 and up are passed over, and
/// what is missing then is drawn from a hash of them.
fn base62(random: &[u8; RANDOM_OCTETS]) -> String {
    let mut text = String::with_capacity(RANDOM_OCTETS);
    let mut block: Vec<u8> = random.to_vec();
    loop {
        for octet in &block {
            if *octet < 248 {
                text.push(char::from(ALPHABET[usize::from(octet % 62)]));
            }
        }
        if text.len() >= LOOKUP + SECRET {
            return text;
        }
        block = Sha256::new().chain_update(random).chain_update(&block).finalize().to_vec();
    }
}

/// A token that has the right form and checksum. Whether it is known is the store's word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Which environment it says it belongs to.
    pub environment: Environment,
    /// The public part.
    pub lookup: &'a str,
    secret: &'a str,
}

impl fmt::Debug for Parsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parsed({})", self.lookup)
    }
}

impl Parsed<'_> {
    /// SHA-256 of the secret part.
    pub fn hash(&self) -> [u8; 32] {
        hash(self.secret)
    }
}

/// Reads a token; `None` if its form or its checksum is wrong.
pub fn parse(text: &str) -> Option<Parsed<'_>> {
    let (environment, rest) = Environment::ALL.into_iter().find_map(|environment| {
        let rest = text.strip_prefix("tid_")?.strip_prefix(environment.as_str())?.strip_prefix('_')?;
        Some((environment, rest))
    })?;
    let well_formed = rest.len() == LOOKUP + 1 + SECRET + CHECKSUM
        && rest
            .bytes()
            .enumerate()
            .all(|(i, c)| if i == LOOKUP { c == b'_' } else { c.is_ascii_alphanumeric() });
    if !well_formed {
        return None;
    }
    let (covered, given) = text.split_at(text.len() - CHECKSUM);
    if checksum(covered) != given {
        return None;
    }
    Some(Parsed { environment, lookup: &rest[..LOOKUP], secret: &rest[LOOKUP + 1..LOOKUP + 1 + SECRET] })
}

/// Whether this looks like a token of ours, be it valid or not: for refusing it where it must not be.
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with("tid_live_") || text.starts_with("tid_test_")
}

/// A new secret for an OAuth client, and its hash for the record.
pub fn client_secret(random: [u8; RANDOM_OCTETS]) -> (String, [u8; 32]) {
    let secret = base62(&random)[..LOOKUP + SECRET].to_owned();
    let hash = hash(&secret);
    (secret, hash)
}

/// SHA-256, for comparing with a record.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn checksum(text: &str) -> String {
    let mut rest = crc32(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

/// CRC-32 as in ISO 3309 and zip. The texts are short, so four bits at a time are fast enough.
pub(crate) fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 4 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !octets.iter().fold(u32::MAX, |crc, &octet| {
        let crc = crc ^ u32::from(octet);
        let crc = TABLE[(crc & 15) as usize] ^ (crc >> 4);
        TABLE[(crc & 15) as usize] ^ (crc >> 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u8) -> [u8; RANDOM_OCTETS] {
        std::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(seed))
    }

    #[test]
    fn crc32_has_its_known_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_token_is_read_as_it_was_made() {
        for environment in Environment::ALL {
            for seed in 0..=255 {
                let minted = mint(environment, random(seed));
                let parsed = parse(&minted.text).unwrap();
                assert_eq!((parsed.environment, parsed.lookup), (environment, minted.lookup.as_str()));
                assert_eq!(parsed.hash(), minted.hash);
                assert_eq!(minted.text.len(), 9 + 8 + 1 + 38);
            }
        }
    }

    #[test]
    fn octets_that_say_nothing_still_make_a_token() {
        assert!(parse(&mint(Environment::Test, [0xFF; RANDOM_OCTETS]).text).is_some());
    }

    #[test]
    fn one_wrong_character_is_noticed_anywhere() {
        let text = mint(Environment::Live, random(7)).text;
        for place in 0..text.len() {
            for wrong in ['0', 'z', '_', '-'] {
                let mut other: Vec<char> = text.chars().collect();
                if other[place] == wrong {
                    continue;
                }
                other[place] = wrong;
                assert_eq!(parse(&other.into_iter().collect::<String>()), None, "{place} {wrong}");
            }
        }
        for other in ["", "tid_live_", "tid_", &text[1..], &text[..text.len() - 1], &format!("{text}0"), "é"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_environment_is_under_the_checksum() {
        let text = mint(Environment::Test, random(3)).text;
        assert_eq!(parse(&text.replacen("test", "live", 1)), None);
    }

    #[test]
    fn a_rotation_keeps_the_public_part() {
        let first = mint(Environment::Live, random(1));
        let second = mint_for(Environment::Live, &first.lookup, random(2));
        assert_eq!(parse(&second.text).unwrap().lookup, first.lookup);
        assert_ne!(second.hash, first.hash);
    }

    #[test]
    fn debug_shows_no_secret() {
        let minted = mint(Environment::Live, random(9));
        assert!(!format!("{minted:?}{:?}", parse(&minted.text)).contains(&minted.text[18..]));
    }
}
