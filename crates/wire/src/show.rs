//! Prints a domain value into JSON by its own words, without a text in between.

use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Write as _};

/// A value that is shown in JSON as the string it prints: ids, times, phone numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What is printed in pieces would be looked through for what must be escaped piece by piece.
        let mut short = Short { octets: [0; SHORT], length: 0 };
        match write!(short, "{}", self.0) {
            Ok(()) => serializer.serialize_str(short.text()),
            Err(fmt::Error) => serializer.collect_str(&self.0),
        }
    }
}

/// Octets of ids, times and phone numbers, at the most.
const SHORT: usize = 40;

/// A text of a few octets; more are an error.
struct Short {
    octets: [u8; SHORT],
    length: usize,
}

impl Short {
    fn text(&self) -> &str {
        str::from_utf8(&self.octets[..self.length]).expect("it was put together from whole texts")
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.octets.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_and_what_is_long_is_shown_as_it_prints() {
        for text in
            ["", "mess_0", "Zoë \"said\"\n", "0123456789012345678901234567890123456789", &"long ".repeat(40)]
        {
            let shown = serde_json::to_string(&Shown(text)).unwrap();
            assert_eq!(shown, serde_json::to_string(text).unwrap());
        }
    }
}
