//! Durations as people write them: `90s`, `15m`, `12h`, `30d`.

/// The longest duration that is taken: a hundred years. Longer ones are slips of the pen.
const MAX_S: i64 = 100 * 366 * 86_400;

/// Reads a duration: seconds.
///
/// # Errors
/// How to write it.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let wrong = || "write a number with its unit, such as 90s, 15m, 12h or 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let total = i64::from(number) * seconds;
    if (1..=MAX_S).contains(&total) { Ok(total) } else { Err(wrong()) }
}

/// Prints seconds in the largest unit that fits.
pub fn print(seconds: i64) -> String {
    match seconds {
        s if s >= 86_400 && s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s >= 3_600 && s % 3_600 == 0 => format!("{} h", s / 3_600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// Prints how old something is, roughly.
pub fn age(ms: i64) -> String {
    match ms / 1000 {
        s if s < 120 => format!("{} s", s.max(0)),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let check =
            |text: &str, expected: Option<i64>| assert_eq!(parse_duration(text).ok(), expected, "{text}");
        check("90s", Some(90));
        check("15m", Some(900));
        check("12h", Some(43_200));
        check("30d", Some(2_592_000));
        for wrong in ["", "30", "d", "0s", "-1d", "1.5h", "1w", "99999999999d", "4000000000d", "3é"] {
            check(wrong, None);
        }
        assert_eq!(
            (print(90).as_str(), print(86_400).as_str(), age(7_300_000).as_str()),
            ("90 s", "1 d", "2 h")
        );
    }
}
