//! Octets for people and programs: how digests, keys and what a carrier sent are written.

use std::fmt::Write as _;

/// Octets in hexadecimal: two digits each, `a` to `f` in lower case, nothing between them.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        write!(text, "{octet:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_octet_has_two_digits() {
        assert_eq!(hexadecimal(&[]), "");
        assert_eq!(hexadecimal(&[0, 9, 0x7f, 0xab, 0xff]), "00097fabff");
    }
}
