//! Our own 16-bit reference on a segment, which some carriers give back on receipts.

use tidings_domain::id::MessageId;

/// The reference that goes out with a segment (`SMPP 3.4 §5.3.2.17`). Not unique: it counts only together with the
/// connection and the recipient.
pub fn our_reference(message: MessageId, segment: u8) -> u16 {
    // Every bit of the id counts in the upper bits of the product, so that messages of one moment differ.
    let stirred = message.key().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((stirred >> 48) as u16).wrapping_add(u16::from(segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tidings_domain::id::Sequence;
    use tidings_domain::time::Timestamp;

    #[test]
    fn messages_of_one_moment_have_different_references() {
        let mut sequence = Sequence::new(1);
        let begin = Timestamp::from_millis(1_798_761_600_000);
        // Four each millisecond, for a second.
        let ids = (0..4_000).map(|n| MessageId::from_key(sequence.next(begin.plus_ms(n / 4))));
        let references: BTreeSet<u16> = ids.map(|id| our_reference(id, 0)).collect();
        assert!(references.len() > 3_700, "{}", references.len());
    }
}
