//! Prints a domain value into JSON by its own words, without a text in between.

use serde::{Serialize, Serializer};
use std::fmt::Display;

/// A value that is shown in JSON as the string it prints: ids, times, phone numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
