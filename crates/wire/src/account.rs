//! Accounts, tokens, OAuth clients and the audit trail, as they are shown and made.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::error::{Code, FieldError};
use crate::show::Shown;
use serde::Serialize;
use tidings_domain::account::{self as domain, Scope, Scopes};
use tidings_domain::id::{AccountId, AuditId, ClientId, TokenId};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The longest life that a token can be given: ten years.
const EXPIRES_MAX_S: i64 = 10 * 366 * 24 * 3600;
/// The most messages a minute that a token can be given.
const RATE_MAX: i64 = 10_000_000;

const NAME: Field =
    Field::new("name", Kind::Text, "What it is for: 1 to 100 characters.").required().example("\"web shop\"");
const SCOPES: Field =
    Field::new("scopes", Kind::Texts, "What it may do; `messages.send` and `messages.read` if not given.")
        .example(r#"["messages.send","messages.read"]"#);

/// The body of `POST /v1/tokens`.
pub static NEW_TOKEN: Shape = Shape {
    name: "NewToken",
    about: "A token to make, in the environment of the token that asks.",
    fields: &[
        NAME,
        SCOPES,
        Field::new(
            "expires_in_s",
            Kind::Integer(60, EXPIRES_MAX_S),
            "After how many seconds it ends; never if not given.",
        ),
        Field::new(
            "rate_per_minute",
            Kind::Integer(1, RATE_MAX),
            "Messages a minute that it may send, if not the installation's default.",
        ),
    ],
};

/// The body of `POST /v1/clients`.
pub static NEW_CLIENT: Shape = Shape {
    name: "NewClient",
    about: "An OAuth 2 client to make, in the environment of the token that asks.",
    fields: &[NAME, SCOPES],
};

/// What a token or client is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// After how many seconds it ends.
    pub expires_in_s: Option<i64>,
    /// Messages a minute.
    pub rate_per_minute: Option<u32>,
}

/// Parses the body that makes a token, or a client.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, shape: &'static Shape) -> Result<Wanted, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = shape.read(json, "", &mut errors);
    let of_token = |name| if std::ptr::eq(shape, &NEW_TOKEN) { fields.integer(name) } else { None };
    let name = crate::message::bounded(fields, "name", 100, &mut errors);
    let scopes = scopes(fields, &mut errors);
    match name {
        Some(name) if errors.is_empty() => Ok(Wanted {
            name,
            scopes,
            expires_in_s: of_token("expires_in_s"),
            rate_per_minute: of_token("rate_per_minute").and_then(|rate| u32::try_from(rate).ok()),
        }),
        _ => Err(errors),
    }
}

fn scopes(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Scopes {
    let Some(words) = fields.texts("scopes") else { return Scopes::SMS_ONLY };
    let mut scopes = Vec::new();
    for word in words {
        match Scope::parse(word) {
            Some(scope) => scopes.push(scope),
            None => {
                let near =
                    tidings_domain::spelling::nearest(word, Scope::ALL.iter().map(|scope| scope.as_str()));
                let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let detail = format!("`scopes` takes: {}.{near}", Scope::ALL.map(Scope::as_str).join(", "));
                errors.push(FieldError::new("scopes", Code::InvalidRequest, "unknown_word", detail));
                break;
            }
        }
    }
    if scopes.is_empty() && errors.is_empty() {
        let detail = "`scopes` must have at least one entry.";
        errors.push(FieldError::new("scopes", Code::InvalidRequest, "empty", detail));
    }
    scopes.into_iter().collect()
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account<'a> {
    /// The account.
    #[schema(value_type = String)]
    pub id: Shown<AccountId>,
    /// Its name.
    pub name: &'a str,
    /// `test` or `live`.
    pub environment: &'static str,
    /// What this token may do.
    pub scopes: Vec<&'static str>,
    /// This token's id.
    #[schema(value_type = Option<String>)]
    pub token_id: Option<Shown<TokenId>>,
    /// The OAuth client that this token was made for.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<Shown<ClientId>>,
    /// The bounds in force.
    pub limits: Limits,
}

/// The bounds in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Segments of one message.
    pub max_segments: u32,
    /// How far ahead a message may be scheduled: seconds.
    pub max_schedule_s: i64,
    /// Messages in one batch.
    pub max_batch_messages: usize,
    /// Recipients in one batch by recipients × bodies.
    pub max_batch_recipients: usize,
    /// Bodies in one batch by recipients × bodies.
    pub max_batch_bodies: usize,
    /// Messages a minute that this token may send.
    pub messages_per_minute: u32,
}

/// A token. Its secret is shown once, when it is made or rotated.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token<'a> {
    /// Its id.
    #[schema(value_type = String, example = "tok_01j8z0k2m4p6q")]
    pub id: Shown<TokenId>,
    /// What it is for.
    pub name: &'a str,
    /// How it begins, for finding it in a configuration.
    pub prefix: String,
    /// `test` or `live`.
    pub environment: &'static str,
    /// What it may do.
    pub scopes: Vec<&'static str>,
    /// The OAuth client that it was made for.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<Shown<ClientId>>,
    /// Messages a minute that it may send, if not the default.
    pub rate_per_minute: Option<u32>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Shown<Timestamp>>,
    /// When it was revoked.
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Shown<Timestamp>>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Shown<Timestamp>>,
    /// Until when the secret before the last rotation is good.
    #[schema(value_type = Option<String>)]
    pub previous_secret_until: Option<Shown<Timestamp>>,
    /// When the secret before the last rotation was last used: whoever used it must be given the new one.
    #[schema(value_type = Option<String>)]
    pub previous_secret_used_at: Option<Shown<Timestamp>>,
    /// The token itself. Only in the answer to making or rotating it; it cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
}

impl<'a> Token<'a> {
    /// Shows a token; its text only where that was just made.
    pub fn new(record: &'a domain::Token, text: Option<&'a str>) -> Self {
        Self {
            id: Shown(record.id),
            name: &record.name,
            prefix: crate::token::prefix(record.realm.environment, &record.lookup),
            environment: record.realm.environment.as_str(),
            scopes: words(record.scopes),
            client_id: record.client.map(Shown),
            rate_per_minute: record.rate_per_minute,
            created_at: Shown(record.created_at),
            expires_at: record.expires_at.map(Shown),
            revoked_at: record.revoked_at.map(Shown),
            last_used_at: record.last_used_at.map(Shown),
            previous_secret_until: record.previous.map(|(_, until)| Shown(until)),
            previous_secret_used_at: record.previous_used_at.map(Shown),
            token: text,
        }
    }
}

/// An OAuth 2 client.
#[derive(Debug, Serialize, ToSchema)]
pub struct Client<'a> {
    /// Its id, the `client_id` of OAuth 2.
    #[schema(value_type = String, example = "cli_01j8z0k2m4p6q")]
    pub id: Shown<ClientId>,
    /// What it is for.
    pub name: &'a str,
    /// `test` or `live`.
    pub environment: &'static str,
    /// The most that its tokens may do.
    pub scopes: Vec<&'static str>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Shown<Timestamp>>,
    /// The `client_secret`. Only in the answer to making it; it cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<&'a str>,
}

/// A line of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub struct Audit<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<AuditId>,
    /// When.
    #[schema(value_type = String)]
    pub at: Shown<Timestamp>,
    /// Who: a token, a client, or `operator` at the terminal.
    pub who: &'a str,
    /// What, such as `token.create`.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// More, as text.
    pub detail: &'a str,
}

/// The words of a set of rights.
pub fn words(scopes: Scopes) -> Vec<&'static str> {
    scopes.iter().map(Scope::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_only_sends_and_reads_unless_it_is_said() {
        let token = |text: &str| parse(&Json::parse(text.as_bytes()).unwrap(), &NEW_TOKEN);
        assert_eq!(token(r#"{"name":"shop"}"#).unwrap().scopes, Scopes::SMS_ONLY);
        let admin =
            token(r#"{"name":"a","scopes":["admin"],"rate_per_minute":6000,"expires_in_s":3600}"#).unwrap();
        assert!(admin.scopes.has(Scope::Admin) && !admin.scopes.has(Scope::MessagesSend));
        assert_eq!((admin.rate_per_minute, admin.expires_in_s), (Some(6000), Some(3600)));
        for (wrong, reason) in [
            ("{}", "missing"),
            (r#"{"name":"a","scopes":["message.send"]}"#, "unknown_word"),
            (r#"{"name":"a","scopes":[]}"#, "empty"),
            (r#"{"name":""}"#, "length"),
            (r#"{"name":"a","account":"acc_1"}"#, "unknown_field"),
        ] {
            assert_eq!(token(wrong).unwrap_err()[0].reason, reason, "{wrong}");
        }
        let client = parse(&Json::parse(br#"{"name":"a","rate_per_minute":1}"#).unwrap(), &NEW_CLIENT);
        assert_eq!(client.unwrap_err()[0].reason, "unknown_field");
    }
}
