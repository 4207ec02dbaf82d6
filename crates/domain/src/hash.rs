//! Numbers made of octets, the same in every process of every version: what stands in a store by them stays where it is. They are no
//! secrets, and guard against no malice.

/// FNV-1a, 64 bits.
pub fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// How near a candidate is to a number: of several, the one with the largest rank gets it. Each has the same share of all
/// numbers, and where one is added or taken away, only those move who come to it or had it ("rendezvous hashing").
pub fn rank(candidate: &[u8], number: u64) -> u64 {
    // FNV-1a over the candidate, mixed with the number (SplitMix64).
    let mut mixed = fnv1a(candidate) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_by_it_is_found_again() {
        // The reference values of FNV-1a.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
