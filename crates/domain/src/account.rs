//! Who may do what: environments, scopes and the principal of a request.

use crate::id::{AccountId, ClientId, TokenId};
use crate::time::Timestamp;

/// Test and live never see each other's objects, and test never reaches a real carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// Only the simulated carrier.
    Test,
    /// Real carriers.
    Live,
}

impl Environment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Test, Self::Live];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.as_str() == word)
    }
}

/// One right of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Send, preview and cancel messages.
    MessagesSend,
    /// Read messages, batches, their timelines, and the event feed.
    MessagesRead,
    /// Remove the text of messages.
    MessagesRedact,
    /// Read webhook endpoints and their attempts.
    WebhooksRead,
    /// Create, change, test and replay webhook endpoints.
    WebhooksWrite,
    /// Read the suppression list.
    SuppressionsRead,
    /// Add and lift suppressions.
    SuppressionsWrite,
    /// Read review items.
    ReviewRead,
    /// Decide review items.
    ReviewWrite,
    /// Read carrier connections and their state.
    CarriersRead,
    /// Pause and resume carrier connections.
    CarriersWrite,
    /// Create, rotate and revoke tokens and clients, and read the audit trail.
    Admin,
    /// Read what people agreed to.
    ConsentsRead,
    /// Record what people agreed to.
    ConsentsWrite,
    /// Take the proof of what a person agreed to; each time leaves a line in the audit trail.
    ConsentsExport,
    /// Make, send again and take back one-time codes.
    CodesSend,
    /// Check and read one-time codes.
    CodesCheck,
    /// Read contacts and groups.
    ContactsRead,
    /// Add, change and delete contacts.
    ContactsWrite,
    /// Take all contacts out as one table; each time leaves a line in the audit trail.
    ContactsExport,
    /// Import tables of contacts.
    ContactsImport,
    /// Read and preview templates.
    TemplatesRead,
    /// Make templates and new versions of them.
    TemplatesWrite,
    /// Read conversations, and search them.
    ConversationsRead,
    /// Reply in conversations, note, assign, tag, put off and close.
    ConversationsWrite,
    /// Read and try segments, and see the contacts that they find: what is asked about consent, suppressions and history is
    /// answered with it.
    SegmentsRead,
    /// Make, change and delete segments.
    SegmentsWrite,
}

impl Scope {
    /// All of them; the place in this list is the bit in the store.
    pub const ALL: [Self; 27] = [
        Self::MessagesSend,
        Self::MessagesRead,
        Self::MessagesRedact,
        Self::WebhooksRead,
        Self::WebhooksWrite,
        Self::SuppressionsRead,
        Self::SuppressionsWrite,
        Self::ReviewRead,
        Self::ReviewWrite,
        Self::CarriersRead,
        Self::CarriersWrite,
        Self::Admin,
        Self::ConsentsRead,
        Self::ConsentsWrite,
        Self::ConsentsExport,
        Self::CodesSend,
        Self::CodesCheck,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::ContactsExport,
        Self::ContactsImport,
        Self::TemplatesRead,
        Self::TemplatesWrite,
        Self::ConversationsRead,
        Self::ConversationsWrite,
        Self::SegmentsRead,
        Self::SegmentsWrite,
    ];

    /// The public word, such as `messages.send`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessagesSend => "messages.send",
            Self::MessagesRead => "messages.read",
            Self::MessagesRedact => "messages.redact",
            Self::WebhooksRead => "webhooks.read",
            Self::WebhooksWrite => "webhooks.write",
            Self::SuppressionsRead => "suppressions.read",
            Self::SuppressionsWrite => "suppressions.write",
            Self::ReviewRead => "review.read",
            Self::ReviewWrite => "review.write",
            Self::CarriersRead => "carriers.read",
            Self::CarriersWrite => "carriers.write",
            Self::Admin => "admin",
            Self::ConsentsRead => "consents.read",
            Self::ConsentsWrite => "consents.write",
            Self::ConsentsExport => "consents.export",
            Self::CodesSend => "codes.send",
            Self::CodesCheck => "codes.check",
            Self::ContactsRead => "contacts.read",
            Self::ContactsWrite => "contacts.write",
            Self::ContactsExport => "contacts.export",
            Self::ContactsImport => "contacts.import",
            Self::TemplatesRead => "templates.read",
            Self::TemplatesWrite => "templates.write",
            Self::ConversationsRead => "conversations.read",
            Self::ConversationsWrite => "conversations.write",
            Self::SegmentsRead => "segments.read",
            Self::SegmentsWrite => "segments.write",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u32);

impl Scopes {
    /// What a program that only sends needs: the default of a new token.
    pub const SMS_ONLY: Self = Self((1 << Scope::MessagesSend as u32) | (1 << Scope::MessagesRead as u32));

    /// From the store's bits; unknown bits are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Scope::ALL.len()) - 1))
    }

    /// The store's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether it holds this right.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// Whether it holds every right of `other`.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The rights, in their order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | (1 << scope as u32)))
    }
}

/// The tenant and environment that a request or an object belongs to. Every key in the store begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Realm {
    /// The tenant.
    pub account: AccountId,
    /// Test or live.
    pub environment: Environment,
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

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Where it may look.
    pub realm: Realm,
    /// What it may do.
    pub scopes: Scopes,
    /// The token it showed; `None` for the operator at the terminal.
    pub token: Option<TokenId>,
    /// The OAuth client that the token was made for.
    pub client: Option<ClientId>,
}
