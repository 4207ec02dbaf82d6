//! Accounts, tokens, and the audit trail.

pub use tidings_domain::account::Token;
use tidings_domain::account::{Realm, Scopes};
use tidings_domain::id::*;
use tidings_domain::time::Timestamp;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// An OAuth 2 client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Where it may look.
    pub realm: Realm,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The most that it may ask for.
    pub scopes: Scopes,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// What, such as `token.create`.
    pub action: String,
    /// To what: an id or a name.
    pub subject: String,
    /// More, as text.
    pub detail: String,
}
