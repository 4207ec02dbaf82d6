//! Requests for consent.

use crate::column;
use tidings_domain::consent::{Act, Channel};
use tidings_domain::consent_request::{self, ConsentRequest};
use tidings_domain::id::*;
use tidings_domain::message::Message;
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;

/// What a message asks its recipient for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// To be contacted why: each once.
    pub purposes: Vec<Purpose>,
    /// And how: each once.
    pub channels: Vec<Channel>,
    /// What a yes is: express or written consent.
    pub act: Act,
    /// How long an answer counts: seconds.
    pub life_s: i64,
    /// Where the person asked for it before.
    pub place: Option<String>,
    /// Who may contact the person.
    pub seller: Option<String>,
    /// Which programme of the seller.
    pub programme: Option<String>,
    /// Who asks.
    pub source: String,
}

impl Asking {
    /// The request that the message makes: it has the number of the message.
    pub fn request(&self, message: &Message, now: Timestamp) -> ConsentRequest {
        ConsentRequest {
            id: ConsentRequestId::from_key(message.id.key()),
            realm: message.realm(),
            recipient: message.recipient,
            sender: message.sender,
            message: message.id,
            purposes: column::purposes_of(column::purposes_bits(&self.purposes)),
            channels: column::channels_of(column::channels_bits(&self.channels)),
            act: self.act,
            wording: column::wording(message.text.as_deref().unwrap_or_default()),
            place: self.place.clone(),
            seller: self.seller.clone(),
            programme: self.programme.clone(),
            source: self.source.clone(),
            requested_at: now,
            expires_at: now.plus_s(self.life_s),
            state: consent_request::State::Pending,
            ended_at: None,
            answer: None,
        }
    }
}
