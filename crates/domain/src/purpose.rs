//! Why a message is sent. The purpose decides how urgent it is, how long it is worth sending, and what
//! happens when the carrier's answer never came.

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A one-time code: late is worse than twice.
    Authentication,
    /// Something people must know: lost is unacceptable.
    Alert,
    /// What the person is waiting for: twice is bad, lost is bad.
    Transactional,
    /// An offer: twice costs money and complaints.
    Marketing,
}

/// What to do with a submission whose answer never came: the carrier may or may not have the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// How long a late answer or a receipt may still settle it.
    pub wait_ms: i64,
    /// How often the message may be sent again afterwards.
    pub resends: u32,
    /// Only if it is still worth this much time.
    pub min_life_ms: i64,
    /// Whether a person is asked when nothing settled it.
    pub review: bool,
}

impl Purpose {
    /// All of them, most urgent first.
    pub const ALL: [Self; 4] = [Self::Authentication, Self::Alert, Self::Transactional, Self::Marketing];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Alert => "alert",
            Self::Transactional => "transactional",
            Self::Marketing => "marketing",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }

    /// Place in the queue: 0 goes first. Also the number in the store.
    pub const fn priority(self) -> u8 {
        match self {
            Self::Authentication => 0,
            Self::Alert => 1,
            Self::Transactional => 2,
            Self::Marketing => 3,
        }
    }

    /// From the number in the store.
    pub fn from_priority(priority: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.priority() == priority)
    }

    /// How long a message is worth sending when the caller does not say: seconds.
    pub const fn default_life_s(self) -> i64 {
        match self {
            Self::Authentication => 5 * 60,
            Self::Alert => 60 * 60,
            Self::Transactional | Self::Marketing => 2 * 60 * 60,
        }
    }

    /// The longest that a caller may ask for: seconds.
    pub const fn max_life_s(self) -> i64 {
        match self {
            Self::Authentication => 15 * 60,
            Self::Alert => 24 * 60 * 60,
            Self::Transactional | Self::Marketing => 72 * 60 * 60,
        }
    }

    /// The rule for a submission without an answer.
    pub const fn doubt(self) -> Doubt {
        match self {
            Self::Authentication => Doubt { wait_ms: 5_000, resends: 1, min_life_ms: 60_000, review: false },
            Self::Alert => Doubt { wait_ms: 5_000, resends: u32::MAX, min_life_ms: 0, review: false },
            Self::Transactional => Doubt { wait_ms: 120_000, resends: 0, min_life_ms: 0, review: true },
            Self::Marketing => Doubt { wait_ms: 0, resends: 0, min_life_ms: 0, review: false },
        }
    }
}
