//! Accounts, tokens, and the audit trail.

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

/// A bearer token's record. The secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// The public part that it is found by.
    pub lookup: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// The hash before a rotation, and until when it is still good.
    pub previous: Option<([u8; 32], Timestamp)>,
    /// Where it may look.
    pub realm: Realm,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is for.
    pub name: String,
    /// The client it was made for.
    pub client: Option<ClientId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When its present secret was last used.
    pub last_used_at: Option<Timestamp>,
    /// When its previous secret was last used.
    pub previous_used_at: Option<Timestamp>,
    /// Requests a minute that it may make, if not the default.
    pub rate_per_minute: Option<u32>,
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
