//! When to try again after a session ended. Pure: the caller counts the failures and gives the random
//! number, so a simulation repeats exactly.

/// First pause after a lost connection, in milliseconds.
pub const RECONNECT_MIN_MS: u64 = 1_000;
/// Longest pause after lost connections.
pub const RECONNECT_MAX_MS: u64 = 60_000;
/// First pause after a refused bind: the carrier must change something, and some lock an account after a
/// few tries.
pub const REFUSED_MIN_MS: u64 = 30_000;
/// Longest pause after refused binds.
pub const REFUSED_MAX_MS: u64 = 600_000;

/// What the pause is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection broke, or could not be made.
    Lost,
    /// The carrier refused the bind.
    Refused,
}

/// Milliseconds to wait before the next try.
///
/// `failures` counts the tries that failed in a row, this one included, from 1. `random` is any uniformly
/// distributed number. The pause doubles with each failure up to the cause's bound; the upper half of it is
/// random, so that many sessions don't come back at the same moment.
#[must_use]
pub fn pause_ms(cause: Cause, failures: u32, random: u64) -> u64 {
    let (min, max) = match cause {
        Cause::Lost => (RECONNECT_MIN_MS, RECONNECT_MAX_MS),
        Cause::Refused => (REFUSED_MIN_MS, REFUSED_MAX_MS),
    };
    let doublings = failures.saturating_sub(1).min(16);
    let whole = (min << doublings).min(max);
    let least = (whole / 2).max(min);
    least + random % (whole - least + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let check = |cause, failures, least, most| {
            assert_eq!(pause_ms(cause, failures, 0), least, "{cause:?} {failures}");
            assert_eq!(pause_ms(cause, failures, most - least), most, "{cause:?} {failures}");
        };
        check(Cause::Lost, 0, 1_000, 1_000);
        check(Cause::Lost, 1, 1_000, 1_000);
        check(Cause::Lost, 2, 1_000, 2_000);
        check(Cause::Lost, 4, 4_000, 8_000);
        check(Cause::Lost, 7, 30_000, 60_000);
        check(Cause::Lost, u32::MAX, 30_000, 60_000);
        check(Cause::Refused, 1, 30_000, 30_000);
        check(Cause::Refused, 3, 60_000, 120_000);
        check(Cause::Refused, 100, 300_000, 600_000);
    }

    #[test]
    fn no_random_number_leaves_the_bounds() {
        for random in [0, 1, 59_999, u64::MAX] {
            for failures in 0..40 {
                let pause = pause_ms(Cause::Lost, failures, random);
                assert!((RECONNECT_MIN_MS..=RECONNECT_MAX_MS).contains(&pause));
            }
        }
    }
}
