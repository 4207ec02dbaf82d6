//! How fast one-time codes may be asked for: the stop for traffic pumping (artificially inflated traffic), where somebody
//! has codes sent to many numbers of a carrier that pays for them.
//!
//! Each code that is sent is counted in several *gauges*: its phone number, its prefix (the number without its last four
//! digits: ten thousand numbers that were mostly given out together), its country, the token that asked, and the address
//! and session of the person that the caller may name. A gauge has a window that slides, and a bound. That keeps one
//! number and one person slow. It does not see a sweep through many numbers from many addresses, which is what pumping
//! looks like; but nobody types in the codes of a sweep. So of each prefix it is also watched how many of its codes
//! were *verified*, in a quarter of an hour and in a day, and a prefix with many codes of which few were is stopped for a
//! while, or until an operator lifts that.
//!
//! Everything is values: the store keeps the gauges, and asks [`admit`] in the commit that sends. Windows are counted in
//! [`SLOTS`] slots, so a gauge has one size whatever its bound; a window reaches back for its whole length and for up to a
//! slot more: it never lets through more than its bound, and may take a fifteenth longer to forget.

use crate::address::PhoneNumber;
use crate::id::TokenId;
use crate::time::Timestamp;
use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

/// Slots of a window: fifteen whole ones, and the one that is running.
pub const SLOTS: usize = 16;
const WHOLE_SLOTS: i64 = SLOTS as i64 - 1;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// How long a prefix is stopped that the short watch found: milliseconds. An hour: longer than somebody waits who sweeps
/// by hand, short enough for honest people who have numbers of that prefix.
pub const STOP_MS: i64 = HOUR_MS;
/// How long one is stopped that the long watch found: milliseconds. A day: who goes slowly is not to go on after an hour.
pub const LONG_STOP_MS: i64 = 24 * HOUR_MS;

// ── what is counted ─────────────────────────────────────────────────────────────────────────────────────────

/// What a gauge counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The phone number.
    Number,
    /// The number without its last four digits, over a quarter of an hour.
    Prefix,
    /// The same over a day.
    PrefixDay,
    /// The country, or the calling code where there is none.
    Country,
    /// The token that asked.
    Token,
    /// The address of the person who asked the caller; of IPv6 its first 64 bits, which one household has.
    Address,
    /// The person's session with the caller.
    Session,
}

impl Kind {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 7] = [
        Self::Number,
        Self::Prefix,
        Self::PrefixDay,
        Self::Country,
        Self::Token,
        Self::Address,
        Self::Session,
    ];

    /// How far back it counts: milliseconds.
    pub const fn window_ms(self) -> i64 {
        match self {
            Self::Number | Self::Country | Self::Token | Self::Address | Self::Session => 10 * MINUTE_MS,
            Self::Prefix => 15 * MINUTE_MS,
            Self::PrefixDay => 24 * HOUR_MS,
        }
    }

    const fn slot_ms(self) -> i64 {
        self.window_ms() / WHOLE_SLOTS
    }
}

/// Numbers that were given out together: a phone number without its last four digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(u64);

impl Prefix {
    /// That of a number.
    pub const fn of(number: PhoneNumber) -> Self {
        Self(number.digits() / 10_000)
    }

    /// From its digits, country code first.
    pub const fn from_digits(digits: u64) -> Self {
        Self(digits)
    }

    /// The digits, country code first, as one number.
    pub const fn digits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gauge {
    /// By what.
    pub kind: Kind,
    /// Which one.
    pub key: String,
}

/// Who wants a code, as far as the caller says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The token that asked.
    pub token: Option<TokenId>,
    /// The person's address.
    pub address: Option<IpAddr>,
    /// The person's session: the caller's word for it, or a digest of that.
    pub session: Option<String>,
}

/// The gauges that a code to this number counts in, those first whose refusal says most.
pub fn gauges(number: PhoneNumber, client: &Client) -> Vec<Gauge> {
    let of = |kind, key: String| Gauge { kind, key };
    let country = match number.country() {
        Some(country) => country.as_str().to_owned(),
        None => number.calling_code().to_string(),
    };
    let mut gauges = vec![of(Kind::Number, number.digits().to_string())];
    gauges.extend(client.session.clone().map(|session| of(Kind::Session, session)));
    gauges.extend(client.address.map(|address| of(Kind::Address, network(address))));
    gauges.extend(watched(Prefix::of(number)));
    gauges.push(of(Kind::Country, country));
    gauges.extend(client.token.map(|token| of(Kind::Token, token.key().to_string())));
    gauges
}

/// The gauges in which it is counted what was verified.
pub fn watched(prefix: Prefix) -> [Gauge; 2] {
    [Kind::Prefix, Kind::PrefixDay].map(|kind| Gauge { kind, key: prefix.digits().to_string() })
}

/// Whom an address stands for: itself, and of IPv6 all that begin with the same 64 bits, because whoever has one of them
/// has all (RFC 6177). An IPv4 address that is written as IPv6 is itself.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let first = address.to_bits() & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from_bits(first))
        }
    }
}

// ── how it is counted ───────────────────────────────────────────────────────────────────────────────────────

/// Codes of a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How often one was sent.
    pub sends: u32,
    /// How many of those that were sent then were verified.
    pub verified: u32,
}

/// What a gauge counted lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The number of the newest slot: slots since 1970.
    pub newest: i64,
    /// Each slot at its number's remainder.
    pub slots: [Count; SLOTS],
}

impl Window {
    /// One that has counted nothing.
    pub const EMPTY: Self = Self { newest: 0, slots: [Count { sends: 0, verified: 0 }; SLOTS] };

    /// Lets the past go. A clock that goes back changes nothing.
    fn slide(&mut self, kind: Kind, now: Timestamp) {
        let slot = slot_of(kind, now);
        if slot - self.newest >= SLOTS as i64 {
            self.slots = Self::EMPTY.slots;
        } else {
            for passed in self.newest + 1..=slot {
                self.slots[place(passed)] = Count::default();
            }
        }
        self.newest = self.newest.max(slot);
    }

    /// What it counts now.
    pub fn total(&mut self, kind: Kind, now: Timestamp) -> Count {
        self.slide(kind, now);
        self.slots.iter().fold(Count::default(), |all, slot| Count {
            sends: all.sends.saturating_add(slot.sends),
            verified: all.verified.saturating_add(slot.verified),
        })
    }

    fn send(&mut self, kind: Kind, now: Timestamp) {
        self.slide(kind, now);
        let slot = &mut self.slots[place(self.newest)];
        slot.sends = slot.sends.saturating_add(1);
    }

    /// Counts that a code was verified which was sent then. One that the window has let go counts no more.
    pub fn verify(&mut self, kind: Kind, sent_at: Timestamp, now: Timestamp) {
        self.slide(kind, now);
        let sent = slot_of(kind, sent_at).min(self.newest);
        if self.newest - sent < SLOTS as i64 {
            let slot = &mut self.slots[place(sent)];
            slot.verified = slot.verified.saturating_add(1);
        }
    }

    /// From when on there are fewer than `bound` in it, if none comes.
    fn below(&self, kind: Kind, bound: u32) -> Timestamp {
        let mut left: u32 = self.slots.iter().fold(0, |all, slot| all.saturating_add(slot.sends));
        for slot in self.newest - WHOLE_SLOTS..=self.newest {
            left = left.saturating_sub(self.slots[place(slot)].sends);
            if left < bound {
                return starts(kind, slot + SLOTS as i64);
            }
        }
        self.ends_at(kind)
    }

    /// From then on it counts nothing.
    pub fn ends_at(&self, kind: Kind) -> Timestamp {
        starts(kind, self.newest + SLOTS as i64)
    }
}

fn slot_of(kind: Kind, at: Timestamp) -> i64 {
    at.as_millis().div_euclid(kind.slot_ms())
}

const fn place(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

const fn starts(kind: Kind, slot: i64) -> Timestamp {
    Timestamp::from_millis(slot.saturating_mul(kind.slot_ms()))
}

// ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

/// When a prefix is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Codes that must have been sent, and one more.
    pub sends: u32,
    /// Fewer than these of a hundred were verified.
    pub percent: u32,
}

impl Watch {
    const fn finds(self, count: Count) -> bool {
        count.sends > self.sends
            && (count.verified as u64) * 100 < (count.sends as u64) * (self.percent as u64)
    }
}

/// How many codes are sent at most, of each gauge in its window; 0 is no bound. Configuration, with these defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// To a phone number in ten minutes.
    pub number: u32,
    /// For a session in ten minutes.
    pub session: u32,
    /// For an address in ten minutes.
    pub address: u32,
    /// To a prefix in a quarter of an hour, however many are verified.
    pub prefix: u32,
    /// To a country in ten minutes.
    pub country: u32,
    /// By a token in ten minutes.
    pub token: u32,
    /// The watch over a quarter of an hour.
    pub watch: Watch,
    /// The watch over a day.
    pub watch_day: Watch,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            number: 5,
            session: 10,
            address: 30,
            prefix: 300,
            country: 1_000,
            token: 3_000,
            watch: Watch { sends: 30, percent: 10 },
            watch_day: Watch { sends: 50, percent: 10 },
        }
    }
}

impl Bounds {
    const fn of(&self, kind: Kind) -> (u32, Reason) {
        match kind {
            Kind::Number => (self.number, Reason::Number),
            Kind::Prefix => (self.prefix, Reason::Prefix),
            Kind::PrefixDay => (0, Reason::Prefix),
            Kind::Country => (self.country, Reason::Country),
            Kind::Token => (self.token, Reason::Token),
            Kind::Address => (self.address, Reason::Address),
            Kind::Session => (self.session, Reason::Session),
        }
    }

    /// What watches a gauge, and how long it stops the prefix.
    const fn watch_of(&self, kind: Kind) -> Option<(Watch, i64)> {
        match kind {
            Kind::Prefix => Some((self.watch, STOP_MS)),
            Kind::PrefixDay => Some((self.watch_day, LONG_STOP_MS)),
            Kind::Number | Kind::Country | Kind::Token | Kind::Address | Kind::Session => None,
        }
    }
}

/// Why a code is not sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There were enough for this phone number.
    Number,
    /// There were enough for this session.
    Session,
    /// There were enough for this address.
    Address,
    /// There were enough for this prefix.
    Prefix,
    /// There were enough for this country.
    Country,
    /// There were enough for this token.
    Token,
    /// The prefix is stopped: many codes, and few of them verified.
    Stopped,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Number, Self::Session, Self::Address, Self::Prefix, Self::Country, Self::Token, Self::Stopped];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Session => "client_session",
            Self::Address => "client_address",
            Self::Prefix => "prefix",
            Self::Country => "country",
            Self::Token => "token",
            Self::Stopped => "prefix_stopped",
        }
    }
}

/// That a code is not sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// From when on it may be, if nobody else comes before.
    pub until: Timestamp,
}

/// A prefix that gets no codes for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Which.
    pub prefix: Prefix,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// What was counted then.
    pub count: Count,
}

/// What is decided about one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is sent, and counted in all the gauges.
    Send,
    /// It is not sent, and not counted.
    Refuse(Refused),
    /// It is not sent, because its prefix is stopped from now on.
    Stop(Stop),
}

impl Decision {
    /// Why it is not sent, if it is not.
    pub const fn refused(self) -> Option<Refused> {
        match self {
            Self::Send => None,
            Self::Refuse(refused) => Some(refused),
            Self::Stop(stop) => Some(Refused { reason: Reason::Stopped, until: stop.until }),
        }
    }
}

/// Decides whether a code to a number with this prefix is sent, and counts it then. `stop` is the prefix's, if it has one.
pub fn admit(
    gauges: &mut [(Gauge, Window)],
    prefix: Prefix,
    stop: Option<Stop>,
    bounds: &Bounds,
    now: Timestamp,
) -> Decision {
    if let Some(stop) = stop.filter(|stop| stop.until > now) {
        return Decision::Refuse(Refused { reason: Reason::Stopped, until: stop.until });
    }
    for (Gauge { kind, .. }, window) in &mut *gauges {
        let count = window.total(*kind, now);
        let (bound, reason) = bounds.of(*kind);
        if bound > 0 && count.sends >= bound {
            return Decision::Refuse(Refused { reason, until: window.below(*kind, bound) });
        }
    }
    // The one that lasts longest, where both find it.
    for (Gauge { kind, .. }, window) in gauges.iter_mut().rev() {
        let Some((watch, stop_ms)) = bounds.watch_of(*kind) else { continue };
        let count = window.total(*kind, now);
        if watch.finds(count) {
            return Decision::Stop(Stop { prefix, since: now, until: now.plus_ms(stop_ms), count });
        }
    }
    for (Gauge { kind, .. }, window) in gauges {
        window.send(*kind, now);
    }
    Decision::Send
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn number(digits: u64) -> PhoneNumber {
        PhoneNumber::from_digits(digits).expect("it has the length of one")
    }

    /// Sends at these seconds to one number; gives those that are refused, with the second from which on it may be.
    fn check(seconds: &[i64], refused: &[(i64, i64)]) {
        let mut gauges = vec![(Gauge { kind: Kind::Number, key: String::new() }, Window::EMPTY)];
        let prefix = Prefix::from_digits(1);
        let mut found = Vec::new();
        for second in seconds {
            let decision = admit(&mut gauges, prefix, None, &Bounds::default(), START.plus_s(*second));
            if let Some(refused) = decision.refused() {
                assert_eq!(refused.reason, Reason::Number);
                found.push((*second, refused.until.since_ms(START) / 1_000));
            }
        }
        assert_eq!(found, refused, "{seconds:?}");
    }

    #[test]
    fn five_codes_in_ten_minutes_go_to_a_number_and_not_a_sixth() {
        check(&[0, 1, 2, 3, 4], &[]);
        // Ten minutes, and what is left of the slot in which the first went: START is the beginning of one.
        check(&[0, 1, 2, 3, 4, 5, 639, 640], &[(5, 640), (639, 640)]);
        check(&[0, 100, 200, 300, 400, 500, 640, 641], &[(500, 640), (641, 720)]);
        // What is refused is not counted.
        check(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 640], &[(1, 640), (2, 640), (3, 640), (4, 640), (5, 640)]);
        check(&[0, 0, 0, 0, 0, 100_000], &[]);
    }

    #[test]
    fn in_no_ten_minutes_is_a_bound_exceeded_whenever_they_begin() {
        let mut gauges = vec![(Gauge { kind: Kind::Number, key: String::new() }, Window::EMPTY)];
        let mut sent: Vec<i64> = Vec::new();
        for second in (0..20_000).step_by(7) {
            let now = START.plus_s(second);
            if admit(&mut gauges, Prefix::from_digits(1), None, &Bounds::default(), now) == Decision::Send {
                sent.push(second);
            }
        }
        for six in sent.windows(6) {
            assert!(six[5] - six[0] > 600, "{six:?}");
        }
        assert!(sent.len() > 140, "it does not refuse for ever: {}", sent.len());
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        check(&[0, 0, 0, 0, 0, -3_600], &[(-3_600, 640)]);
    }

    #[test]
    fn what_is_verified_counts_for_the_time_when_it_was_sent() {
        let kind = Kind::Prefix;
        let mut window = Window::EMPTY;
        window.send(kind, START);
        window.verify(kind, START, START.plus_s(120));
        assert_eq!(window.total(kind, START.plus_s(900)), Count { sends: 1, verified: 1 });
        assert_eq!(window.total(kind, START.plus_s(960)), Count::default(), "both are let go together");
        window.verify(kind, START, START.plus_s(960));
        assert_eq!(window.total(kind, START.plus_s(960)), Count::default());
        assert_eq!(window.ends_at(kind), START.plus_s(960 + 960));
    }

    #[test]
    fn a_household_is_one_address() {
        let key = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_code_counts_in_each_gauge_that_is_known() {
        let client = Client {
            token: Some(TokenId::from_key(9)),
            address: Some("2001:db8::1".parse().expect("an address")),
            session: Some("s".to_owned()),
        };
        let keys = |client: &Client| {
            let all = gauges(number(46_700_123_456), client);
            all.into_iter().map(|gauge| format!("{:?} {}", gauge.kind, gauge.key)).collect::<Vec<_>>()
        };
        let expected = [
            "Number 46700123456",
            "Session s",
            "Address 2001:db8::/64",
            "Prefix 4670012",
            "PrefixDay 4670012",
            "Country SE",
            "Token 9",
        ];
        assert_eq!(keys(&client), expected);
        assert_eq!(keys(&Client::default()), [expected[0], expected[3], expected[4], expected[5]]);
        assert_eq!(Prefix::of(number(46_700_123_456)).to_string(), "+4670012");
    }

    #[test]
    fn a_prefix_is_stopped_when_many_codes_were_sent_and_few_were_verified() {
        let check = |sends: u32, verified: u32, stops: bool| {
            let mut gauges: Vec<_> =
                watched(Prefix::from_digits(1)).into_iter().map(|gauge| (gauge, Window::EMPTY)).collect();
            for (gauge, window) in &mut gauges {
                for n in 0..sends {
                    window.send(gauge.kind, START);
                    if n < verified {
                        window.verify(gauge.kind, START, START);
                    }
                }
            }
            let decision = admit(&mut gauges, Prefix::from_digits(1), None, &Bounds::default(), START);
            assert_eq!(matches!(decision, Decision::Stop(_)), stops, "{sends} {verified}: {decision:?}");
        };
        check(30, 0, false);
        check(31, 0, true);
        check(31, 3, true);
        check(31, 4, false);
        check(40, 4, false);
        check(100, 9, true);
        check(100, 10, false);
    }

    #[test]
    fn a_stop_holds_until_its_end_and_no_longer() {
        let prefix = Prefix::from_digits(1);
        let stop = Stop { prefix, since: START, until: START.plus_s(60), count: Count::default() };
        let at = |second| {
            let mut gauges: Vec<_> =
                watched(prefix).into_iter().map(|gauge| (gauge, Window::EMPTY)).collect();
            admit(&mut gauges, prefix, Some(stop), &Bounds::default(), START.plus_s(second)).refused()
        };
        let refused = Some(Refused { reason: Reason::Stopped, until: START.plus_s(60) });
        assert_eq!((at(0), at(59), at(60)), (refused, refused, None));
    }

    #[test]
    fn a_bound_of_nothing_is_no_bound() {
        let bounds = Bounds { number: 0, ..Bounds::default() };
        let mut gauges = vec![(Gauge { kind: Kind::Number, key: String::new() }, Window::EMPTY)];
        for _ in 0..1_000 {
            assert_eq!(admit(&mut gauges, Prefix::from_digits(1), None, &bounds, START), Decision::Send);
        }
    }
}
