//! Segments, and what happened last with whom.

use tidings_domain::address::PhoneNumber;
use tidings_domain::id::*;
use tidings_domain::segment::Touch;
use tidings_domain::time::Timestamp;

/// How a segment is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichSegment {
    /// By its id.
    Id(SegmentId),
    /// By its name.
    Name(String),
}

impl WhichSegment {
    /// By its id, if the text is one, and by its name otherwise: no name looks like an id.
    pub fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }
}

/// What was read in the event log of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The place up to which it was read before; `None` if it was not.
    pub after: Option<EventId>,
    /// The one up to which it was read now, whether or not anything was found.
    pub upto: EventId,
    /// What happened between them.
    pub touches: Vec<(PhoneNumber, Touch, Timestamp)>,
}
