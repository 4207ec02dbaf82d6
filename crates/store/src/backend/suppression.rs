//! The suppression list.

use tidings_domain::id::AuditId;
pub use tidings_domain::suppression::Suppression;

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
