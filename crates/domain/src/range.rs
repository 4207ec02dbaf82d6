//! Ranges of numbers that nobody expects a message at, or that cost whoever sends there: what a number is for, as its digits
//! say.
//!
//! Who sends to a number of a company, a mailbox or a premium service reaches no person, and some of these ranges pay their
//! owner for what comes in, which is what traffic pumping lives on. So they are refused unless the operator enables them.
//! Which range is whose is the knowledge of libphonenumber; `data/fictitious.csv` has the numbers that are given to nobody.
//!
//! Nothing here knows whether a number is in use, nor whose it is.

use crate::account::Environment;
use crate::address::{NumberKind, PhoneNumber};
use std::fmt;
use std::sync::LazyLock;

/// Numbers that are given to nobody.
const FICTITIOUS: &str = include_str!("../data/fictitious.csv");

/// A range that is refused unless it is enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Range {
    /// Dear for who calls; a part goes to the owner. No request with such a number is read in the first place
    /// ([`PhoneNumber::parse`]), so this is about numbers whose range became one later.
    Premium,
    /// The cost is shared between who calls and the owner.
    SharedCost,
    /// Follows a person from line to line, at a price of its own.
    Personal,
    /// One number of a company for all its places.
    UniversalAccess,
    /// A mailbox for voices.
    Voicemail,
    /// A pager.
    Pager,
    /// Assigned to nobody, as far as is known.
    Unassigned,
    /// Given to nobody for ever, for films and documents.
    Fictitious,
}

impl Range {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Premium,
        Self::SharedCost,
        Self::Personal,
        Self::UniversalAccess,
        Self::Voicemail,
        Self::Pager,
        Self::Unassigned,
        Self::Fictitious,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Premium => "premium",
            Self::SharedCost => "shared_cost",
            Self::Personal => "personal",
            Self::UniversalAccess => "universal_access",
            Self::Voicemail => "voicemail",
            Self::Pager => "pager",
            Self::Unassigned => "unassigned",
            Self::Fictitious => "fictitious",
        }
    }

    /// From the stable word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == word)
    }

    /// The range of a number; `None` for what people have: mobile and fixed lines, those over the internet, and toll-free
    /// numbers, many of which take messages. As quick as [`PhoneNumber::kind`].
    pub fn of(number: PhoneNumber) -> Option<Self> {
        if is_fictitious(number) {
            return Some(Self::Fictitious);
        }
        match number.kind() {
            NumberKind::Premium => Some(Self::Premium),
            NumberKind::SharedCost => Some(Self::SharedCost),
            NumberKind::Personal => Some(Self::Personal),
            NumberKind::UniversalAccess => Some(Self::UniversalAccess),
            NumberKind::Voicemail => Some(Self::Voicemail),
            NumberKind::Pager => Some(Self::Pager),
            NumberKind::Unknown => Some(Self::Unassigned),
            NumberKind::Mobile
            | NumberKind::FixedLine
            | NumberKind::FixedLineOrMobile
            | NumberKind::TollFree
            | NumberKind::Voip => None,
        }
    }

    /// Whether messages of an environment may go there in any case: what is nobody's is what the test environment is for.
    const fn is_for(self, environment: Environment) -> bool {
        matches!((self, environment), (Self::Unassigned | Self::Fictitious, Environment::Test))
    }
}

impl fmt::Display for Range {
    /// What such a number is: continues "the number is …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Premium => "a premium-rate number",
            Self::SharedCost => "a shared-cost number",
            Self::Personal => "a personal number, which has a price of its own",
            Self::UniversalAccess => "one number of a company for all its places",
            Self::Voicemail => "a mailbox for voices",
            Self::Pager => "a pager",
            Self::Unassigned => "of a range that is assigned to nobody",
            Self::Fictitious => "one that is kept for films and documents",
        })
    }
}

/// Which ranges may not be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The ranges.
    pub refused: Vec<Range>,
}

impl Policy {
    /// Everything may be sent to.
    pub const OFF: Self = Self { refused: Vec::new() };

    /// All but these are refused.
    pub fn enabling(enabled: &[Range]) -> Self {
        Self { refused: Range::ALL.into_iter().filter(|range| !enabled.contains(range)).collect() }
    }

    /// The range for which a number is refused in an environment.
    pub fn refuses(&self, number: PhoneNumber, environment: Environment) -> Option<Range> {
        if self.refused.is_empty() {
            return None;
        }
        Range::of(number).filter(|range| self.refused.contains(range) && !range.is_for(environment))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::enabling(&[])
    }
}

/// One line of the table.
struct Line {
    calling_code: u16,
    skip: u32,
    first: u64,
    last: u64,
}

static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let lines = FICTITIOUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    lines.map(|text| line(text).unwrap_or_else(|| panic!("in data/fictitious.csv: {text}"))).collect()
});

fn line(text: &str) -> Option<Line> {
    let mut cells = text.splitn(5, ',');
    let calling_code = cells.next()?.parse().ok()?;
    let skip = cells.next()?.parse().ok()?;
    let (first, last): (u64, u64) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    cells.next().filter(|source| !source.is_empty())?;
    (first <= last && first.ilog10() == last.ilog10()).then_some(Line { calling_code, skip, first, last })
}

fn is_fictitious(number: PhoneNumber) -> bool {
    let code = number.calling_code();
    LINES.iter().filter(|line| line.calling_code == code).any(|line| {
        let length = line.first.ilog10() + 1;
        let digits = number.digits();
        let is_long = digits.ilog10() == u32::from(code).ilog10() + line.skip + length;
        is_long && (line.first..=line.last).contains(&(digits % 10_u64.pow(length)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> PhoneNumber {
        PhoneNumber::from_stored(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_no_person_has_is_refused_unless_it_is_enabled() {
        let all = Policy::default();
        let check = |text: &str, live: Option<Range>, test: Option<Range>| {
            let number = number(text);
            let of = |environment| all.refuses(number, environment);
            assert_eq!((of(Environment::Live), of(Environment::Test)), (live, test), "{text}");
            assert_eq!(Policy::OFF.refuses(number, Environment::Live), None, "{text}");
            let enabled = Policy::enabling(live.as_slice());
            assert_eq!(enabled.refuses(number, Environment::Live), None, "{text}");
        };
        let both = |text: &str, range| check(text, Some(range), Some(range));
        both("+19002345678", Range::Premium);
        both("+499001234567", Range::Premium);
        both("+448431234567", Range::Premium);
        both("+4918012345", Range::SharedCost);
        both("+46771234567", Range::SharedCost);
        both("+33810123456", Range::SharedCost);
        both("+447012345678", Range::Personal);
        both("+15002345678", Range::Personal);
        both("+445512345678", Range::UniversalAccess);
        both("+81570123456", Range::UniversalAccess);
        both("+447640123456", Range::Pager);
        both("+41860123456789", Range::Voicemail);
        check("+15550002222", Some(Range::Unassigned), None);
        check("+13705550123", Some(Range::Fictitious), None);
        check("+13702345678", Some(Range::Unassigned), None);
        check("+19112345678", Some(Range::Unassigned), None);
        check("+999123456789", Some(Range::Unassigned), None);
        for text in ["+13055550100", "+12125550199", "+447700900123", "+33639981234"] {
            check(text, Some(Range::Fictitious), None);
        }
        for text in [
            "+13055550099",
            "+13055550200",
            "+14165551234",
            "+18002345678",
            "+46701234567",
            "+46701740605",
            "+447400123456",
            "+4915112345678",
            "+33612345678",
        ] {
            check(text, None, None);
        }
    }

    #[test]
    fn each_range_has_a_word_of_its_own() {
        for range in Range::ALL {
            assert_eq!(Range::parse(range.as_str()), Some(range));
            assert!(!range.to_string().ends_with('.'));
        }
        assert_eq!(Range::parse("mobile"), None);
    }

    proptest! {
        /// What people can have is never stopped by the table of what nobody has.
        #[test]
        fn only_numbers_of_the_table_are_fictitious(digits in 1_000_000_u64..999_999_999_999_999) {
            let number = PhoneNumber::from_digits(digits).unwrap();
            let text = digits.to_string();
            let is_american = text.len() == 11 && text.starts_with('1') && text[4..].starts_with("55501");
            let is_other = ["336399", "4477009"].iter().any(|prefix| text.starts_with(prefix));
            if is_american {
                prop_assert_eq!(Range::of(number), Some(Range::Fictitious));
            } else if !is_other {
                prop_assert!(Range::of(number) != Some(Range::Fictitious));
            }
        }
    }
}
