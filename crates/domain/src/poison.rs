//! A message that crashes whoever handles it, for tests. In a program that is not built for them this is nothing.
//!
//! Built with the feature `poison`, the places that handle messages taste the caller's reference (or the text, where
//! that is all they have) first: one that says `poison panic claim` panics where messages are claimed, one that says
//! `poison abort split` ends the process where texts are divided. The feature cannot be built into a release.

#[cfg(all(feature = "poison", not(debug_assertions)))]
compile_error!("the feature `poison` is for tests: it must not be in a release");

/// Crashes in this place, if the text says so.
#[cfg(feature = "poison")]
#[expect(clippy::panic, reason = "that is what it is for")]
pub fn taste<T: AsRef<str>>(place: &str, text: impl FnOnce() -> Option<T>) {
    let Some(text) = text() else { return };
    let words: Vec<&str> = text.as_ref().split(' ').collect();
    match words[..] {
        ["poison", "panic", wanted, ..] if wanted == place => panic!("poison in {place}"),
        ["poison", "abort", wanted, ..] if wanted == place => std::process::abort(),
        _ => {}
    }
}

/// Nothing.
#[cfg(not(feature = "poison"))]
#[inline(always)]
pub fn taste<T: AsRef<str>>(_place: &str, _text: impl FnOnce() -> Option<T>) {}
