//! Requests for consent.

use crate::column;
use tidings_domain::consent_request::{ConsentRequest, NewConsentRequest};
use tidings_domain::message::Message;
use tidings_domain::time::Timestamp;

/// The request that a message makes, whose text is what the person is shown.
pub fn requested(new: &NewConsentRequest, message: &Message, now: Timestamp) -> ConsentRequest {
    new.sent(message, column::wording(message.text.as_deref().unwrap_or_default()), now)
}
