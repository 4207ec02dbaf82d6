//! Meaning of the `data_coding` and `esm_class` octets (SMPP 3.4 §5.2.19 and §5.2.12, 3GPP TS 23.038 §4).
//! It names and classifies; turning octets into text belongs to the owner, because what "default alphabet"
//! means (packed or not, which national table) is a property of the carrier.

/// The carrier's default alphabet: in most places GSM 7-bit, one character per octet.
pub const DEFAULT: u8 = 0x00;
/// IA5 (ASCII).
pub const IA5: u8 = 0x01;
/// Octets, without a character set.
pub const OCTETS: u8 = 0x02;
/// ISO 8859-1.
pub const LATIN_1: u8 = 0x03;
/// Octets, without a character set (second value).
pub const OCTETS_COMMON: u8 = 0x04;
/// JIS X 0208.
pub const JIS: u8 = 0x05;
/// ISO 8859-5.
pub const CYRILLIC: u8 = 0x06;
/// ISO 8859-8.
pub const HEBREW: u8 = 0x07;
/// UCS-2, in practice UTF-16, big endian.
pub const UCS2: u8 = 0x08;
/// 3GPP data coding / message class group with class 0 ("flash"), GSM 7-bit.
pub const GSM7_CLASS_0: u8 = 0xF0;

/// `esm_class` bit: the message starts with a user data header.
pub const ESM_UDHI: u8 = 0x40;
/// `esm_class` bit: the reply path is set.
pub const ESM_REPLY_PATH: u8 = 0x80;
/// `esm_class` of `submit_sm`: store and forward mode.
pub const ESM_STORE_AND_FORWARD: u8 = 0x03;
/// `esm_class` of `submit_sm`: datagram mode.
pub const ESM_DATAGRAM: u8 = 0x01;
/// `esm_class` bits 5..2 hold the message type.
pub const ESM_TYPE_MASK: u8 = 0x3C;
/// Message type in `deliver_sm`: receipt of the carrier.
pub const ESM_RECEIPT: u8 = 0x04;
/// Message type: acknowledgement by the recipient's terminal.
pub const ESM_DELIVERY_ACKNOWLEDGEMENT: u8 = 0x08;
/// Message type: acknowledgement by the person.
pub const ESM_USER_ACKNOWLEDGEMENT: u8 = 0x10;
/// Message type in `deliver_sm`: intermediate notification.
pub const ESM_INTERMEDIATE_NOTIFICATION: u8 = 0x20;

/// `registered_delivery`: no receipt.
pub const RECEIPT_NONE: u8 = 0x00;
/// `registered_delivery`: receipt on success and failure.
pub const RECEIPT_ALWAYS: u8 = 0x01;
/// `registered_delivery`: receipt on failure.
pub const RECEIPT_ON_FAILURE: u8 = 0x02;

/// How the octets of a message are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// The carrier's default alphabet.
    Default,
    /// GSM 7-bit, said by the 3GPP groups (0x00.., 0xF0..), not by the carrier's convention.
    Gsm7,
    /// IA5 (ASCII).
    Ia5,
    /// ISO 8859-1.
    Latin1,
    /// ISO 8859-5.
    Cyrillic,
    /// ISO 8859-8.
    Hebrew,
    /// UCS-2 or UTF-16, big endian.
    Ucs2,
    /// JIS and its relatives.
    Japanese,
    /// Binary.
    Octets,
    /// A value without a meaning in SMPP 3.4 or 3GPP TS 23.038.
    Unknown,
}

/// What a `data_coding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataCoding {
    /// How to read the octets.
    pub alphabet: Alphabet,
    /// Message class 0 to 3, when one is set (0 shows on the screen at once).
    pub class: Option<u8>,
    /// The text is compressed (3GPP TS 23.042); nobody uses it, nobody can read it.
    pub compressed: bool,
}

/// Classifies a `data_coding` octet.
///
/// 0x00..=0x0E follow SMPP's own table. 0x10..=0x7F follow the 3GPP general group (bit 4 announces a class),
/// 0xC0..=0xEF the message waiting groups, 0xF0..=0xFF the data coding / message class group.
#[must_use]
pub const fn classify(octet: u8) -> DataCoding {
    let (alphabet, class, compressed) = match octet {
        0x00 => (Alphabet::Default, None, false),
        0x01 => (Alphabet::Ia5, None, false),
        0x02 | 0x04 | 0x09 => (Alphabet::Octets, None, false),
        0x03 => (Alphabet::Latin1, None, false),
        0x05 | 0x0A | 0x0D => (Alphabet::Japanese, None, false),
        0x06 => (Alphabet::Cyrillic, None, false),
        0x07 => (Alphabet::Hebrew, None, false),
        0x08 => (Alphabet::Ucs2, None, false),
        0x10..=0x7F => {
            let class = if octet & 0x10 != 0 { Some(octet & 0x03) } else { None };
            (general_alphabet(octet), class, octet & 0x20 != 0)
        }
        0xC0..=0xDF => (Alphabet::Gsm7, None, false),
        0xE0..=0xEF => (Alphabet::Ucs2, None, false),
        0xF0..=0xFF => {
            let alphabet = if octet & 0x04 == 0 { Alphabet::Gsm7 } else { Alphabet::Octets };
            (alphabet, Some(octet & 0x03), false)
        }
        _ => (Alphabet::Unknown, None, false),
    };
    DataCoding { alphabet, class, compressed }
}

const fn general_alphabet(octet: u8) -> Alphabet {
    match octet & 0x0C {
        0x00 => Alphabet::Gsm7,
        0x04 => Alphabet::Octets,
        0x08 => Alphabet::Ucs2,
        _ => Alphabet::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_mean_what_the_tables_say() {
        let check = |octet, alphabet, class| {
            let is = classify(octet);
            assert_eq!((is.alphabet, is.class), (alphabet, class), "{octet:#04x}");
        };
        check(0x00, Alphabet::Default, None);
        check(0x01, Alphabet::Ia5, None);
        check(0x03, Alphabet::Latin1, None);
        check(0x04, Alphabet::Octets, None);
        check(0x08, Alphabet::Ucs2, None);
        check(0x10, Alphabet::Gsm7, Some(0));
        check(0x11, Alphabet::Gsm7, Some(1));
        check(0x18, Alphabet::Ucs2, Some(0));
        check(0x19, Alphabet::Ucs2, Some(1));
        check(0x15, Alphabet::Octets, Some(1));
        check(0xC8, Alphabet::Gsm7, None);
        check(0xE8, Alphabet::Ucs2, None);
        check(0xF0, Alphabet::Gsm7, Some(0));
        check(0xF1, Alphabet::Gsm7, Some(1));
        check(0xF5, Alphabet::Octets, Some(1));
        check(0x8F, Alphabet::Unknown, None);
        assert!(classify(0x31).compressed);
    }
}
