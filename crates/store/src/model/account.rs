//! Accounts, tokens and clients. Secrets arrive here as hashes and leave as hashes.

use super::Tables;
use crate::backend::*;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tidings_domain::account::{Environment, Realm, Scope};
use tidings_domain::id::{AccountId, ClientId, TokenId};
use tidings_domain::time::Timestamp;

/// The account that every store has.
const DEFAULT_ACCOUNT: AccountId = AccountId::from_key(1);

/// Tenants, and what lets programs in.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    accounts: BTreeMap<AccountId, Account>,
    tokens: BTreeMap<TokenId, Token>,
    by_lookup: BTreeMap<String, TokenId>,
    clients: BTreeMap<ClientId, Client>,
}

impl Accounts {
    /// The ids of all accounts.
    pub(super) fn ids(&self) -> Vec<AccountId> {
        self.accounts.keys().copied().collect()
    }
}

impl Tables {
    pub(super) fn default_account(&mut self, now: Timestamp) -> Result<AccountId> {
        let account = Account { id: DEFAULT_ACCOUNT, name: "default".to_owned(), created_at: now };
        self.accounts.accounts.entry(DEFAULT_ACCOUNT).or_insert(account);
        Ok(DEFAULT_ACCOUNT)
    }

    pub(super) fn accounts(&mut self) -> Result<Vec<Account>> {
        Ok(self.accounts.accounts.values().cloned().collect())
    }

    pub(super) fn create_account(&mut self, account: Account, actor: Actor) -> Result<()> {
        if self.accounts.accounts.contains_key(&account.id) {
            return Err(Error::Conflict(format!("there is an account {} already", account.id)));
        }
        let (id, name, at) = (account.id, account.name.clone(), account.created_at);
        self.accounts.accounts.insert(id, account);
        self.write_audit(&actor, "account.create", id.to_string(), name, at);
        Ok(())
    }

    pub(super) fn create_token(&mut self, token: Token, actor: Actor) -> Result<()> {
        if self.accounts.tokens.contains_key(&token.id) || self.accounts.by_lookup.contains_key(&token.lookup)
        {
            return Err(Error::Conflict(format!("there is a token {} or one found as it already", token.id)));
        }
        let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
        let detail = format!("{} ({}: {})", token.name, token.realm.environment.as_str(), scopes.join(" "));
        let (id, at) = (token.id, token.created_at);
        self.accounts.by_lookup.insert(token.lookup.clone(), id);
        self.accounts.tokens.insert(id, token);
        self.write_audit(&actor, "token.create", id.to_string(), detail, at);
        Ok(())
    }

    pub(super) fn token_by_lookup(&mut self, lookup: String) -> Result<Option<Token>> {
        let id = self.accounts.by_lookup.get(&lookup);
        Ok(id.and_then(|id| self.accounts.tokens.get(id)).cloned())
    }

    pub(super) fn tokens(
        &mut self,
        account: AccountId,
        environment: Option<Environment>,
    ) -> Result<Vec<Token>> {
        let found = self.accounts.tokens.values().rev().filter(|token| {
            token.realm.account == account
                && environment.is_none_or(|environment| token.realm.environment == environment)
        });
        Ok(found.cloned().collect())
    }

    pub(super) fn update_token(
        &mut self,
        token: Token,
        action: &'static str,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let known = self.accounts.tokens.get_mut(&token.id).filter(|known| known.realm == token.realm);
        let Some(known) = known else { return Ok(false) };
        // The times of use belong to the secrets: with a new secret the old one's time moves along. They are never
        // taken from the caller, whose copy may be older than what `touch_tokens` wrote since.
        if known.hash != token.hash {
            known.previous_used_at = known.last_used_at.take();
        }
        known.hash = token.hash;
        known.previous = token.previous;
        known.expires_at = token.expires_at;
        known.revoked_at = token.revoked_at;
        self.write_audit(&actor, action, token.id.to_string(), token.name, now);
        Ok(true)
    }

    pub(super) fn touch_tokens(&mut self, uses: Vec<(TokenId, Timestamp, bool)>) -> Result<()> {
        for (id, at, previous) in uses {
            let Some(token) = self.accounts.tokens.get_mut(&id) else { continue };
            let used = if previous { &mut token.previous_used_at } else { &mut token.last_used_at };
            *used = (*used).max(Some(at));
        }
        Ok(())
    }

    pub(super) fn create_client(&mut self, client: Client, actor: Actor) -> Result<()> {
        if self.accounts.clients.contains_key(&client.id) {
            return Err(Error::Conflict(format!("there is a client {} already", client.id)));
        }
        let (id, name, at) = (client.id, client.name.clone(), client.created_at);
        self.accounts.clients.insert(id, client);
        self.write_audit(&actor, "client.create", id.to_string(), name, at);
        Ok(())
    }

    pub(super) fn client(&mut self, id: ClientId) -> Result<Option<Client>> {
        Ok(self.accounts.clients.get(&id).cloned())
    }

    pub(super) fn clients(&mut self, realm: Realm) -> Result<Vec<Client>> {
        Ok(self.accounts.clients.values().rev().filter(|client| client.realm == realm).cloned().collect())
    }

    pub(super) fn revoke_client(
        &mut self,
        realm: Realm,
        id: ClientId,
        actor: Actor,
        now: Timestamp,
    ) -> Result<bool> {
        let known = self.accounts.clients.get_mut(&id).filter(|client| client.realm == realm);
        let Some(client) = known else { return Ok(false) };
        client.revoked_at.get_or_insert(now);
        let mut ended = 0;
        for token in self.accounts.tokens.values_mut() {
            if token.client == Some(id) && token.revoked_at.is_none() {
                token.revoked_at = Some(now);
                ended += 1;
            }
        }
        self.write_audit(&actor, "client.revoke", id.to_string(), format!("{ended} tokens revoked"), now);
        Ok(true)
    }
}
