//! Media that people send: their octets, beside the messages that list them.

use super::inbound;
use super::reader::Rx;
use super::session::{Flight, Session, cell, values};
use crate::Result;
use crate::backend::*;
use std::sync::Arc;
use tidings_domain::account::Realm;
use tidings_domain::id::{AccountId, InboundId};

pub(super) async fn media(
    rx: &Rx<'_>,
    realm: &Realm,
    id: &InboundId,
    place: &u8,
) -> Result<Option<KeptMedium>> {
    let inbound = inbound::find(rx.sql, &[id.key()]).await?.remove(id);
    let Some(inbound) = inbound.filter(|inbound| inbound.realm == *realm) else { return Ok(None) };
    let Some(listed) = inbound.kept(*place) else { return Ok(None) };
    let row = rx
        .sql
        .row(
            "SELECT octets FROM media WHERE inbound = $1 AND place = $2 AND account = $3",
            &[&id.key(), &i16::from(*place), &realm.account.key()],
        )
        .await?;
    row.map(|row| KeptMedium::whole(listed.clone(), cell(&row, 0)?)).transpose()
}

/// What came with a message and is to be written.
pub(super) struct Came {
    inbound: InboundId,
    account: AccountId,
    place: u8,
    octets: Arc<[u8]>,
}

impl Came {
    /// What is kept of what came with a message.
    pub fn all(arrival: &Arrival) -> impl Iterator<Item = Self> {
        arrival.kept().map(|(place, octets)| Self {
            inbound: arrival.id,
            account: arrival.realm.account,
            place,
            octets: Arc::clone(octets),
        })
    }
}

pub(super) fn write<'v>(came: &'v [Came], flight: &mut Flight<'v>) {
    flight.statement(
        "INSERT INTO media (inbound, place, account, octets)
         SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[])",
        values![
            came.iter().map(|medium| medium.inbound.key()).collect::<Vec<_>>(),
            came.iter().map(|medium| i16::from(medium.place)).collect::<Vec<_>>(),
            came.iter().map(|medium| medium.account.key()).collect::<Vec<_>>(),
            came.iter().map(|medium| &medium.octets[..]).collect::<Vec<_>>(),
        ],
    );
}

/// Deletes what is left of messages that a node swept away which knows no media.
pub(super) async fn sweep(sql: &Session, floor: i64) -> Result<()> {
    sql.execute(
        "DELETE FROM media WHERE ctid = ANY (ARRAY (
           SELECT m.ctid FROM media m WHERE m.inbound < $1
             AND NOT EXISTS (SELECT 1 FROM inbound i WHERE i.id = m.inbound LIMIT 1)
           ORDER BY m.inbound LIMIT $2))",
        &[&floor, &(SWEPT_WITH_MEDIA_MAX as i64)],
    )
    .await
    .map(drop)
}
