//! One-time codes.

use super::Actor;
use tidings_domain::account::Realm;
use tidings_domain::code::{self, Code, NewCode};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::time::Timestamp;
use tidings_domain::velocity::{self, Client as Person, Stop};

/// The code that a message carries.
#[derive(Debug, Clone)]
pub struct Sending {
    /// A new one, or which.
    pub which: Which,
    /// Who wants it.
    pub person: Person,
    /// How many may be sent.
    pub bounds: velocity::Bounds,
    /// How long after a text the next one may be sent: seconds.
    pub resend_after_s: i64,
}

/// A code to send.
#[derive(Debug, Clone)]
pub enum Which {
    /// A new one, made under this key.
    New(NewCode, code::Mark),
    /// This one, again.
    Again(CodeId),
}

impl Sending {
    /// The code as it is once it is sent with this message, if it may be. `known` is the one that is to be sent again.
    pub(crate) fn code(
        &self,
        message: &Message,
        known: Option<Code>,
        now: Timestamp,
    ) -> std::result::Result<Code, code::Refused> {
        match (&self.which, known) {
            (Which::New(new, mark), _) => {
                Ok(new.clone().sent(message.realm(), message.id, message.recipient, *mark, now))
            }
            // It is for one number and no other.
            (Which::Again(_), Some(code)) if code.recipient == message.recipient => {
                let life = code.resend(message.id, self.resend_after_s, now)?;
                Ok(Code { life, ..code })
            }
            (Which::Again(_), _) => Err(code::Refused::Unknown),
        }
    }
}

/// What the trail says of a prefix that is stopped, and who wrote it.
pub(crate) fn stop_line(realm: Realm, stop: &Stop) -> (Actor, String) {
    let actor = Actor { account: realm.account, who: "velocity".to_owned() };
    let detail = format!(
        "{} until {}: {} sent, {} verified",
        realm.environment.as_str(),
        stop.until,
        stop.count.sends,
        stop.count.verified
    );
    (actor, detail)
}
