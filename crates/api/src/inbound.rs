//! Messages that people sent. They are told by webhooks and the feed; here is what came of one.

use crate::ask::{Answer, Ask, json};
use crate::problem::Problem;
use tidings_engine::webhook::as_told;
use tidings_wire::inbound::InboundMessage;

pub(crate) async fn read(ask: Ask) -> Answer {
    let found = ask.app.engine.store().inbound(ask.realm(), ask.id()?).await?;
    let found = found.ok_or_else(Problem::not_found)?;
    let inbound = as_told(&found.inbound);
    json(200, &InboundMessage::new(inbound, found.whose, found.waits_until, &found.parts))
}
