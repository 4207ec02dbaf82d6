//! The number of a message, and the recipient that carries it through every stage: each message of a run has a
//! recipient of its own, from which everybody who sees it tells which message it is.

/// Digits of a phone number behind its `+`.
pub const DIGITS: usize = 11;
/// How many numbers there are.
pub const MOST: u64 = 40_000_000;
/// What all of them begin with: Swedish mobile numbers.
const BEGIN: &[u8; 3] = b"467";
/// The digit behind that: messages that follow each other go to each of these in turn.
pub const NETWORKS: &[u8; 4] = b"0236";

/// The digits of the recipient of message `n`.
pub fn recipient(n: u64) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    digits[..3].copy_from_slice(BEGIN);
    let networks = NETWORKS.len() as u64;
    digits[3] = NETWORKS[usize::try_from(n % networks).expect("it is below 4")];
    decimal(&mut digits[4..], n / networks % (MOST / networks));
    digits
}

/// The message whose recipient has these digits.
pub fn of_recipient(digits: &[u8]) -> Option<u64> {
    let rest = digits.get(..DIGITS)?.strip_prefix(BEGIN)?;
    let network = NETWORKS.iter().position(|network| *network == rest[0])? as u64;
    let place = rest[1..]
        .iter()
        .try_fold(0, |number, octet| octet.is_ascii_digit().then(|| number * 10 + u64::from(octet - b'0')))?;
    Some(place * NETWORKS.len() as u64 + network)
}

/// Writes a number into all of this room, with leading zeros.
pub fn decimal(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("it is below 10");
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_tells_its_message() {
        for n in [0, 1, 9_999_999, 10_000_000, 23_456_789, MOST - 1] {
            assert_eq!(of_recipient(&recipient(n)), Some(n));
        }
        assert_eq!(&recipient(29), b"46720000007");
        assert_eq!(of_recipient(b"46710000000"), None);
        assert_eq!(of_recipient(b"4670000"), None);
    }
}
