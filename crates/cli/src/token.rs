//! `tidings token`: makes, lists, rotates and revokes bearer tokens. A token's text is shown once; the store keeps
//! only its hash.

use crate::duration::{self, parse_duration};
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, Tone, when};
use anyhow::{anyhow, bail};
use clap::Subcommand;
use tidings_domain::account::{Realm, Scope, Scopes};
use tidings_domain::id::TokenId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::Clock;
use tidings_store::Token;
use tidings_wire::{account, token};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and show it, once
    Create {
        /// What it is for
        #[arg(long, default_value = "made at the terminal")]
        name: String,
        /// What it may do; without a word only sending and reading messages. "all" for everything
        #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
        scope: Vec<String>,
        /// When it ends, such as 30d or 12h; never without a word
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        expires: Option<i64>,
        /// Messages a minute that it may send, if not the default
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        rate: Option<u32>,
        #[command(flatten)]
        whose: Whose,
    },
    /// List tokens, newest first
    List {
        #[command(flatten)]
        whose: Whose,
        /// Also those that ended or were revoked
        #[arg(long)]
        all: bool,
    },
    /// Give a token a new secret; the old one stays good for a while
    Rotate {
        /// Its id (tok_…) or the beginning of the token (tid_test_…)
        token: String,
        /// How long the old secret stays good
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
        overlap: i64,
        #[command(flatten)]
        whose: Whose,
    },
    /// Make a token useless, at once
    Revoke {
        /// Its id (tok_…) or the beginning of the token (tid_test_…)
        token: String,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::Create { name, scope, expires, rate, whose } => {
            let realm = operator.realm(&whose).await?;
            let wanted = Wanted { name, scopes: scopes(&scope)?, expires_s: expires, rate_per_minute: rate };
            let (record, text) = mint(&operator.clock, realm, wanted);
            operator.store.create_token(record.clone(), operator.actor(realm.account)).await?;
            output.show(&account::Token::new(&record, Some(&text)), || {
                let ends = record.expires_at.map_or_else(|| "never".to_owned(), |at| when(Some(at)));
                format!(
                    "{}\n\n{}  {}  may {}  ends {ends}\nKeep it now: it cannot be shown again.",
                    output.tone(Tone::Strong, &text),
                    record.id,
                    realm.environment.as_str(),
                    may(record.scopes),
                )
            })?;
        }
        Command::List { whose, all } => {
            let realm = operator.realm(&whose).await?;
            let now = operator.now();
            let mut tokens = operator.store.tokens(realm.account, Some(realm.environment)).await?;
            tokens.retain(|token| all || state(token, now) == "good");
            let list: Vec<_> = tokens.iter().map(|token| account::Token::new(token, None)).collect();
            output.show(&list, || {
                let mut table =
                    Table::new(&["ID", "BEGINS WITH", "NAME", "MAY", "MADE", "LAST USED", "ENDS", ""]);
                for token in &tokens {
                    table.row([
                        token.id.to_string(),
                        token::prefix(token.realm.environment, &token.lookup),
                        token.name.clone(),
                        may(token.scopes),
                        when(Some(token.created_at)),
                        when(token.last_used_at),
                        when(token.expires_at),
                        state(token, now).to_owned(),
                    ]);
                }
                table.print(output, "There is no token: make one with `tidings token create`.")
            })?;
        }
        Command::Rotate { token, overlap, whose } => {
            let realm = operator.realm(&whose).await?;
            let mut record = find(&operator, realm, &token).await?;
            let now = operator.now();
            if state(&record, now) != "good" {
                bail!(
                    "{} is {} already: make a new one with `tidings token create`",
                    record.id,
                    state(&record, now)
                );
            }
            let minted = token::mint_for(realm.environment, &record.lookup, operator.clock.random());
            record.previous = Some((record.hash, now.plus_s(overlap)));
            record.previous_used_at = None;
            record.hash = minted.hash;
            operator
                .store
                .update_token(record.clone(), "token.rotate", operator.actor(realm.account), now)
                .await?;
            output.show(&account::Token::new(&record, Some(&minted.text)), || {
                format!(
                    "{}\n\nThe old secret is good for {} more. Keep the new one now: it cannot be shown again.",
                    output.tone(Tone::Strong, &minted.text),
                    duration::print(overlap)
                )
            })?;
        }
        Command::Revoke { token, whose } => {
            let realm = operator.realm(&whose).await?;
            let mut record = find(&operator, realm, &token).await?;
            let now = operator.now();
            record.revoked_at = Some(record.revoked_at.unwrap_or(now));
            record.previous = None;
            operator
                .store
                .update_token(record.clone(), "token.revoke", operator.actor(realm.account), now)
                .await?;
            output.show(&account::Token::new(&record, None), || format!("{} is revoked.", record.id))?;
        }
    }
    operator.close().await
}

/// What a new token is to be.
#[derive(Debug)]
pub struct Wanted {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// After how many seconds it ends.
    pub expires_s: Option<i64>,
    /// Messages a minute.
    pub rate_per_minute: Option<u32>,
}

/// Makes a token: its record, and its text for its owner.
pub fn mint(clock: &Clock, realm: Realm, wanted: Wanted) -> (Token, String) {
    let now = clock.now();
    let minted = token::mint(realm.environment, clock.random());
    let record = Token {
        id: TokenId::from_key(clock.id()),
        lookup: minted.lookup,
        hash: minted.hash,
        previous: None,
        realm,
        scopes: wanted.scopes,
        name: wanted.name,
        client: None,
        created_at: now,
        expires_at: wanted.expires_s.map(|seconds| now.plus_s(seconds)),
        revoked_at: None,
        last_used_at: None,
        previous_used_at: None,
        rate_per_minute: wanted.rate_per_minute,
    };
    (record, minted.text)
}

/// Every right there is.
pub fn all_scopes() -> Scopes {
    Scope::ALL.into_iter().collect()
}

fn may(scopes: Scopes) -> String {
    if scopes == all_scopes() { "everything".to_owned() } else { account::words(scopes).join(", ") }
}

fn scopes(words: &[String]) -> anyhow::Result<Scopes> {
    match words {
        [] => return Ok(Scopes::SMS_ONLY),
        [word] if word == "all" => return Ok(all_scopes()),
        _ => {}
    }
    words
        .iter()
        .map(|word| {
            Scope::parse(word).ok_or_else(|| {
                let cure = crate::config::key::cure(word, Scope::ALL.iter().map(|scope| scope.as_str()));
                anyhow!(r#"there is no scope "{word}"; {cure}"#)
            })
        })
        .collect()
}

async fn find(operator: &Operator, realm: Realm, wanted: &str) -> anyhow::Result<Token> {
    let id = wanted.parse::<TokenId>().ok();
    // The whole token may be given too: whoever revokes in a hurry has that at hand.
    let lookup = wanted.strip_prefix("tid_").and_then(|rest| rest.split('_').nth(1));
    let tokens = operator.store.tokens(realm.account, Some(realm.environment)).await?;
    tokens.into_iter().find(|token| Some(token.id) == id || Some(token.lookup.as_str()) == lookup).ok_or_else(|| {
        let environment = realm.environment.as_str();
        anyhow!("there is no such token in {environment}: look it up with `tidings token list --all --environment {environment}`")
    })
}

fn state(token: &Token, now: Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|at| at <= now) {
        "ended"
    } else {
        "good"
    }
}
