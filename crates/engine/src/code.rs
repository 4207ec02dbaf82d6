//! One-time codes: made when a text goes out and when one is checked, and in no other place.
//!
//! A code is the HMAC of the number of its first message, under a key that lies in no row: whoever has a copy of the
//! database has no code, however few digits it has, and what sends a text again (after a doubt, a restart, from another
//! node) sends the same. What is stored and handed about has a blank in the place of the code; it is filled in the last
//! step before a segment is cut ([`OneTimeCodes::text`]). See decision 23.
//!
//! What follows from a try is decided by `domain::code` in the store's commit. Here it is only said whether it was right.

use crate::intake::{Call, IdempotencyKey, Sent};
use crate::{Engine, Inner, intake};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::code::{self, Code, Mark, NewCode, OtherKey, Template, Verdict};
use tidings_domain::id::{CodeId, MessageId};
use tidings_domain::intake::SendRequest;
use tidings_domain::message::{Input, Message};
use tidings_domain::pool::Source;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_domain::velocity::{Bounds, Client};
use tidings_store::{Happening, Result, Sending, Which};

/// Octets of a key.
pub const KEY_OCTETS: usize = 32;

/// What codes are made of. It is the same on every node, and not where the database is.
#[derive(Clone)]
pub struct Key {
    octets: [u8; KEY_OCTETS],
    mark: Mark,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("•••")
    }
}

impl Key {
    /// From random octets.
    pub fn new(octets: [u8; KEY_OCTETS]) -> Self {
        let mut key = Self { octets, mark: Mark::new(0) };
        let made = key.mac(b"mark", &[]);
        key.mark = Mark::new(u32::from_be_bytes([made[0], made[1], made[2], made[3]]));
        key
    }

    /// What tells it from other keys.
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    fn mac(&self, what: &[u8], of: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.octets).expect("HMAC takes keys of any length");
        mac.update(what);
        mac.update(of);
        mac.finalize().into_bytes().into()
    }

    /// The code of so many digits whose first message this is. Of 128 bits the remainder is as good as evenly spread.
    fn code(&self, first: MessageId, digits: u8) -> String {
        let made = self.mac(b"code", &first.key().to_be_bytes());
        let (number, _) = made.split_first_chunk().expect("it has 32 octets");
        let number = u128::from_be_bytes(*number) % 10u128.pow(u32::from(digits));
        format!("{number:0width$}", width = usize::from(digits))
    }
}

/// How one-time codes are made and sent.
#[derive(Debug, Clone)]
pub struct OneTimeCodes {
    /// What they are made of; without it there are none.
    pub key: Option<Key>,
    /// How many may be sent.
    pub bounds: Bounds,
    /// How long after a text the next one may be sent: seconds.
    pub resend_after_s: i64,
    /// Who they are from, if the caller does not say.
    pub sender: Option<Sender>,
    /// The name that their texts begin with, if the caller does not say.
    pub brand: Option<String>,
}

impl Default for OneTimeCodes {
    /// Without a key.
    fn default() -> Self {
        let (bounds, resend_after_s) = (Bounds::default(), code::RESEND_AFTER_S);
        Self { key: None, bounds, resend_after_s, sender: None, brand: None }
    }
}

impl OneTimeCodes {
    /// The text of a message as it goes out, with its code if it carries one.
    ///
    /// # Errors
    /// It carries one that was made under another key.
    pub fn text<'m>(&self, message: &'m Message) -> std::result::Result<Option<Cow<'m, str>>, OtherKey> {
        let Some(text) = message.text.as_deref() else { return Ok(None) };
        if !code::has_blank(text) {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let key = self.key.as_ref().ok_or(OtherKey)?;
        // What is sent again is a repeat of the first.
        let first = message.retry_of.unwrap_or(message.id);
        code::filled(text, key.mark, |digits| key.code(first, digits)).map(Some)
    }
}

/// A code that somebody asks for.
pub struct Wanted {
    /// Whose.
    pub realm: Realm,
    /// Who asks for it, and for whom.
    pub client: Client,
    /// Who it is from.
    pub sender: Sender,
    /// Who it is to.
    pub recipient: PhoneNumber,
    /// The words around it.
    pub template: Template,
    /// The code.
    pub code: NewCode,
    /// The idempotency key, if the caller gave one.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a call for a code.
#[derive(Debug, Clone)]
pub enum CodeSent {
    /// As with any message.
    Sent(Sent),
    /// There is no such code in this realm.
    NotFound,
    /// Its text was removed from its first message, and nobody knows it any more.
    TextGone,
    /// This node has no key, or another one than that which the code was made under.
    NoKey,
}

/// What became of a try.
#[derive(Debug, Clone)]
pub enum Checked {
    /// It was judged: the code as it stands now.
    Done(Code, Verdict),
    /// There is no such code in this realm.
    NotFound,
    /// This node has no key, or another one than that which the code was made under: nothing was recorded.
    NoKey,
}

impl Engine {
    /// How one-time codes are made and sent here.
    pub fn one_time_codes(&self) -> &OneTimeCodes {
        &self.inner.settings.one_time_codes
    }

    /// Makes a code and accepts its message. Durable when it returns.
    pub async fn send_code(&self, wanted: Wanted) -> Result<CodeSent> {
        let Some(key) = &self.one_time_codes().key else { return Ok(CodeSent::NoKey) };
        let Wanted { realm, client, sender, recipient, template, code, idempotency } = wanted;
        let request = SendRequest {
            from: Source::Sender(sender),
            recipient,
            text: template.blank(code.digits, key.mark),
            purpose: Purpose::Authentication,
            send_at: None,
            validity_s: Some(code.life_s),
            transliterate: false,
            callback: None,
            reference: code.reference.clone(),
            metadata: None,
            retry_of: None,
            template: None,
            programme: None,
        };
        let token = client.token;
        let call = Call { realm, token, requests: vec![request], batch: None, idempotency };
        let sent = self.with_code(call, Which::New(code, key.mark), client).await?;
        Ok(CodeSent::Sent(sent))
    }

    /// Sends a code again, as it is.
    pub async fn resend_code(&self, realm: Realm, id: CodeId, client: Client) -> Result<CodeSent> {
        let store = &self.inner.store;
        let Some(code) = store.code(realm, id).await? else { return Ok(CodeSent::NotFound) };
        let key = self.one_time_codes().key.as_ref().filter(|key| key.mark == code.mark);
        if key.is_none() {
            return Ok(CodeSent::NoKey);
        }
        let first = MessageId::from_key(id.key());
        let first = store.message(realm, first).await?.map(|stored| stored.message);
        let Some((first, text)) = first.and_then(|mut first| {
            let text = first.text.take()?;
            Some((first, text))
        }) else {
            return Ok(CodeSent::TextGone);
        };
        let left_ms = code.expires_at.since_ms(self.inner.clock.now());
        let request = SendRequest {
            from: Source::Sender(first.sender),
            recipient: first.recipient,
            text,
            purpose: Purpose::Authentication,
            send_at: None,
            // One that is over is refused by its own rule.
            validity_s: Some((left_ms / 1_000).max(1)),
            transliterate: false,
            callback: first.callback,
            reference: first.reference,
            metadata: None,
            retry_of: Some(first.id),
            template: None,
            programme: None,
        };
        let token = client.token;
        let call = Call { realm, token, requests: vec![request], batch: None, idempotency: None };
        Ok(CodeSent::Sent(self.with_code(call, Which::Again(id), client).await?))
    }

    async fn with_code(&self, call: Call, which: Which, person: Client) -> Result<Sent> {
        let OneTimeCodes { bounds, resend_after_s, .. } = *self.one_time_codes();
        let sending = Sending { which, person, bounds, resend_after_s };
        intake::send_code(Arc::clone(&self.inner), call, sending).await
    }

    /// Compares what somebody typed in, in the same time whatever it is, and records the try.
    pub async fn check_code(&self, realm: Realm, id: CodeId, typed: &str) -> Result<Checked> {
        let store = &self.inner.store;
        let Some(known) = store.code(realm, id).await? else { return Ok(Checked::NotFound) };
        let key = self.one_time_codes().key.as_ref().filter(|key| key.mark == known.mark);
        let Some(key) = key else { return Ok(Checked::NoKey) };
        let code = key.code(MessageId::from_key(id.key()), known.digits);
        let is_right = bool::from(code.as_bytes().ct_eq(typed.as_bytes()));
        let checked = store.check_code(realm, id, is_right, self.inner.clock.now()).await?;
        let Some((code, verdict)) = checked else { return Ok(Checked::NotFound) };
        self.inner.telemetry.code_checked(match verdict {
            Verdict::Right => "right",
            Verdict::Wrong => "wrong",
            Verdict::Over(_) => "over",
        });
        Ok(Checked::Done(code, verdict))
    }

    /// Takes a code back, and its message, if that still waits. `None` if there is none; else whether this call did it.
    pub async fn cancel_code(&self, realm: Realm, id: CodeId) -> Result<Option<(Code, bool)>> {
        let canceled = self.inner.store.cancel_code(realm, id, self.inner.clock.now()).await?;
        if let Some((code, true)) = &canceled {
            let happening = Happening::To { message: code.life.message, input: Input::Cancel };
            self.inner.advance(vec![happening]).await;
        }
        Ok(canceled)
    }

    /// The text that the phone at the other end shows. Only of the test environment, whose phones are nobody's: there
    /// this is how a developer reads a code.
    pub fn as_on_the_phone(&self, message: &mut Message) {
        if message.environment != Environment::Test {
            return;
        }
        let filled = match self.one_time_codes().text(message) {
            Ok(Some(Cow::Owned(text))) => text,
            _ => return,
        };
        message.text = Some(filled);
    }
}

impl Inner {
    /// As [`OneTimeCodes::text`].
    pub(crate) fn text_of<'m>(
        &self,
        message: &'m Message,
    ) -> std::result::Result<Option<Cow<'m, str>>, OtherKey> {
        self.settings.one_time_codes.text(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KEY: [u8; KEY_OCTETS] = [7; KEY_OCTETS];

    #[test]
    fn a_code_follows_from_its_message_and_the_key() {
        let (key, other) = (Key::new(KEY), Key::new([8; KEY_OCTETS]));
        let code = |n: i64| key.code(MessageId::from_key(n), 6);
        assert_eq!(code(1), code(1));
        let all: BTreeSet<String> = (0..1_000).map(code).collect();
        assert!(all.len() > 990, "{} of a thousand", all.len());
        let same = (0..1_000).filter(|n| code(*n) == other.code(MessageId::from_key(*n), 6)).count();
        assert!(same < 3, "{same}");
        assert_ne!(key.mark, other.mark);
        for digits in code::DIGITS_MIN..=code::DIGITS_MAX {
            for n in 0..200 {
                let code = key.code(MessageId::from_key(n), digits);
                assert!(
                    code.len() == usize::from(digits) && code.bytes().all(|c| c.is_ascii_digit()),
                    "{code}"
                );
            }
        }
        assert!((0..2_000).any(|n| code(n).starts_with('0')), "also codes that begin with a nought");
    }

    /// If this fails, every code that is on its way is worth nothing after an upgrade.
    #[test]
    fn a_code_is_made_as_it_was() {
        let key = Key::new(KEY);
        assert_eq!((key.code(MessageId::from_key(1), 6).as_str(), key.mark.number()), ("766721", 254_772));
    }

    #[test]
    fn a_key_is_in_no_log() {
        assert_eq!(format!("{:?}", Key::new(KEY)), "•••");
    }
}
