//! The targets, by what they read.

pub mod body;
pub mod number;
pub mod request;
pub mod smpp;
pub mod table;
pub mod text;
pub mod url;

/// The octets as text, whatever they are.
fn lossy(octets: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(octets)
}

/// Takes the first octet, which steers the target; 0 if there is none.
fn steer(octets: &[u8]) -> (u8, &[u8]) {
    octets.split_first().map_or((0, octets), |(first, rest)| (*first, rest))
}
