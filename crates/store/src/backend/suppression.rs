//! The suppression list.

use tidings_domain::address::PhoneNumber;
use tidings_domain::id::AuditId;
use tidings_domain::programme;
pub use tidings_domain::suppression::Suppression;

/// What the list is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionFilter {
    /// Only entries of this number.
    pub recipient: Option<PhoneNumber>,
    /// Only those that are about this programme, by the name that they were made with.
    pub programme: Option<programme::Name>,
    /// Also those that were lifted.
    pub include_lifted: bool,
}

impl SuppressionFilter {
    /// All that there ever was of one number.
    pub fn all_of(recipient: PhoneNumber) -> Self {
        Self { recipient: Some(recipient), include_lifted: true, ..Self::default() }
    }
}

/// Changes of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whether the line after which was asked is in the trail, or is none (0). If not, the store went back in time: a backup
    /// was restored, or a replica took over that had not got everything.
    pub is_known: bool,
    /// The entries that were added or lifted, each with the line that tells of it.
    pub changes: Vec<(AuditId, Suppression)>,
    /// The last line that was looked at: nothing up to it is left out.
    pub upto: AuditId,
}
