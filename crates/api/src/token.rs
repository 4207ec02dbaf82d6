//! Who is asking; tokens, OAuth clients, and the audit trail.

use crate::ask::{Answer, Ask, json, nothing};
use crate::page::page;
use crate::problem::Problem;
use std::collections::HashSet;
use tidings_domain::account::Environment;
use tidings_domain::id::{ClientId, TokenId};
use tidings_store::{Client, Token};
use tidings_wire::Shown;
use tidings_wire::account::{self, words};
use tidings_wire::page::{All, List, Page};
use tidings_wire::{endpoint, token};

pub(crate) async fn whoami(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let caller = ask.caller();
    let realm = ask.realm();
    let accounts = engine.store().accounts().await?;
    let name =
        accounts.iter().find(|account| account.id == realm.account).map(|account| account.name.as_str());
    let limits = engine.limits();
    json(
        200,
        &account::Account {
            id: Shown(realm.account),
            name: name.unwrap_or_default(),
            environment: realm.environment.as_str(),
            scopes: words(caller.principal.scopes),
            token_id: caller.principal.token.map(Shown),
            client_id: caller.principal.client.map(Shown),
            limits: account::Limits {
                max_segments: limits.max_segments,
                max_schedule_s: limits.max_schedule_s,
                max_batch_messages: limits.max_batch_messages,
                max_batch_recipients: limits.max_batch_recipients,
                max_batch_bodies: limits.max_batch_bodies,
                messages_per_minute: caller.rate_per_minute.unwrap_or(limits.messages_per_minute),
            },
        },
    )
}

async fn all(ask: &Ask) -> Result<Vec<Token>, Problem> {
    let realm = ask.realm();
    let tokens = ask.app.engine.store().tokens(realm.account, Some(realm.environment)).await?;
    Ok(tokens)
}

async fn found(ask: &Ask) -> Result<Token, Problem> {
    let id: TokenId = ask.id()?;
    all(ask).await?.into_iter().find(|record| record.id == id).ok_or_else(Problem::not_found)
}

pub(crate) async fn create(ask: Ask) -> Answer {
    let wanted = account::parse(&ask.json()?, &account::NEW_TOKEN)?;
    let engine = &ask.app.engine;
    let (realm, now) = (ask.realm(), engine.clock().now());
    let minted = token::mint(realm.environment, engine.clock().random());
    let record = Token {
        id: TokenId::from_key(engine.clock().id()),
        lookup: minted.lookup,
        hash: minted.hash,
        previous: None,
        realm,
        scopes: wanted.scopes,
        name: wanted.name,
        client: None,
        created_at: now,
        expires_at: wanted.expires_in_s.map(|seconds| now.plus_s(seconds)),
        revoked_at: None,
        last_used_at: None,
        previous_used_at: None,
        rate_per_minute: wanted.rate_per_minute,
    };
    engine.store().create_token(record.clone(), ask.actor()).await?;
    ask.app.gate.forget(&record.lookup);
    json(201, &account::Token::new(&record, Some(&minted.text)))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let tokens = all(&ask).await?;
    json(200, &All { data: tokens.iter().map(|record| account::Token::new(record, None)).collect() })
}

pub(crate) async fn read(ask: Ask) -> Answer {
    json(200, &account::Token::new(&found(&ask).await?, None))
}

async fn save(ask: &Ask, record: &Token, action: &'static str) -> Result<(), Problem> {
    let engine = &ask.app.engine;
    let saved =
        engine.store().update_token(record.clone(), action, ask.actor(), engine.clock().now()).await?;
    ask.app.gate.forget(&record.lookup);
    if saved { Ok(()) } else { Err(Problem::not_found()) }
}

pub(crate) async fn rotate(ask: Ask) -> Answer {
    let mut record = found(&ask).await?;
    let overlap_s = endpoint::parse_rotation(&ask.json()?)?;
    if record.revoked_at.is_some() {
        let detail = "The token is revoked; create a new one instead.";
        let problem = Problem::new(tidings_wire::error::Code::TooLate, detail);
        return Err(problem.cured_by("Create a new token."));
    }
    let clock = ask.app.engine.clock();
    let minted = token::mint_for(record.realm.environment, &record.lookup, clock.random());
    let old = std::mem::replace(&mut record.hash, minted.hash);
    record.previous = (overlap_s > 0).then(|| (old, clock.now().plus_s(overlap_s)));
    record.previous_used_at = record.last_used_at.take();
    save(&ask, &record, "token.rotate").await?;
    json(200, &account::Token::new(&record, Some(&minted.text)))
}

pub(crate) async fn revoke(ask: Ask) -> Answer {
    let mut record = found(&ask).await?;
    if record.revoked_at.is_none() {
        record.revoked_at = Some(ask.app.engine.clock().now());
        save(&ask, &record, "token.revoke").await?;
    }
    nothing()
}

fn client_shown<'a>(client: &'a Client, secret: Option<&'a str>) -> account::Client<'a> {
    account::Client {
        id: Shown(client.id),
        name: &client.name,
        environment: client.realm.environment.as_str(),
        scopes: words(client.scopes),
        created_at: Shown(client.created_at),
        revoked_at: client.revoked_at.map(Shown),
        client_secret: secret,
    }
}

pub(crate) async fn create_client(ask: Ask) -> Answer {
    let wanted = account::parse(&ask.json()?, &account::NEW_CLIENT)?;
    let engine = &ask.app.engine;
    let (secret, hash) = token::client_secret(engine.clock().random());
    let client = Client {
        id: ClientId::from_key(engine.clock().id()),
        realm: ask.realm(),
        hash,
        scopes: wanted.scopes,
        name: wanted.name,
        created_at: engine.clock().now(),
        revoked_at: None,
    };
    engine.store().create_client(client.clone(), ask.actor()).await?;
    json(201, &client_shown(&client, Some(&secret)))
}

pub(crate) async fn clients(ask: Ask) -> Answer {
    let clients = ask.app.engine.store().clients(ask.realm()).await?;
    json(200, &All { data: clients.iter().map(|client| client_shown(client, None)).collect() })
}

pub(crate) async fn revoke_client(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let (id, now) = (ask.id()?, engine.clock().now());
    let revoked = engine.store().revoke_client(ask.realm(), id, ask.actor(), now).await?;
    // Its tokens end with it, whichever they are.
    ask.app.gate.forget_all();
    if revoked { nothing() } else { Err(Problem::not_found()) }
}

pub(crate) async fn audit(ask: Ask) -> Answer {
    let page = page(&ask, List::Audit)?;
    let realm = ask.realm();
    let store = ask.app.engine.store();
    let found = store.audit(realm.account, page).await?;
    // The trail belongs to the account, and the operator and the engine act in both environments: a test token sees
    // only what was done with credentials of its own environment.
    let mut seen_by_test = None;
    if realm.environment == Environment::Test {
        let tokens = store.tokens(realm.account, Some(realm.environment)).await?;
        let clients = store.clients(realm).await?;
        let tokens = tokens.iter().map(|token| token.id.to_string());
        let who: HashSet<String> = tokens.chain(clients.iter().map(|client| client.id.to_string())).collect();
        seen_by_test = Some(who);
    }
    let lines =
        found.items.iter().filter(|line| seen_by_test.as_ref().is_none_or(|who| who.contains(&line.who)));
    let data = lines.map(|line| account::Audit {
        id: Shown(line.id),
        at: Shown(line.at),
        who: &line.who,
        action: &line.action,
        subject: &line.subject,
        detail: &line.detail,
    });
    json(200, &Page::new(List::Audit, data.collect(), found.next))
}
