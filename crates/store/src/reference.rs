//! Our own 16-bit reference on a segment, which some carriers give back on receipts.

use tidings_domain::id::MessageId;

/// The reference that goes out with a segment (`SMPP 3.4 §5.3.2.17`). Not unique: it counts only together with the
/// connection and the recipient.
pub fn our_reference(message: MessageId, segment: u8) -> u16 {
    let key = message.key();
    // The counter and the lowest milliseconds of the id, stirred so that neighbours differ in the high bits too.
    ((key ^ (key >> 22)) as u16).wrapping_mul(0x9E37).wrapping_add(u16::from(segment))
}
