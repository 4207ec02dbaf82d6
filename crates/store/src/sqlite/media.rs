//! Media that people send: their octets, beside the messages that list them.

use super::inbound;
use super::reader::Rx;
use super::session::failed;
use crate::Result;
use crate::backend::*;
use rusqlite::{Connection as Sql, OptionalExtension, params};
use tidings_domain::account::Realm;
use tidings_domain::id::InboundId;

pub(super) fn media(
    rx: &mut Rx<'_>,
    realm: &Realm,
    id: &InboundId,
    place: &u8,
) -> Result<Option<KeptMedium>> {
    let Some(inbound) = inbound::find(rx.sql, *id)?.filter(|inbound| inbound.realm == *realm) else {
        return Ok(None);
    };
    let Some(listed) = inbound.kept(*place) else { return Ok(None) };
    let octets = rx
        .sql
        .prepare_cached("SELECT octets FROM media WHERE inbound = ?1 AND place = ?2")
        .and_then(|mut s| s.query_row(params![id.key(), place], |row| row.get::<_, Vec<u8>>(0)).optional())
        .map_err(failed)?;
    octets.map(|octets| KeptMedium::whole(listed.clone(), octets)).transpose()
}

/// Writes what is kept of what came with a message.
pub(super) fn insert(sql: &Sql, arrival: &Arrival) -> Result<()> {
    for (place, octets) in arrival.kept() {
        sql.prepare_cached("INSERT INTO media (inbound, place, account, octets) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut s| {
                s.execute(params![arrival.id.key(), place, arrival.realm.account.key(), &octets[..],])
            })
            .map_err(failed)?;
    }
    Ok(())
}

/// Deletes what came with a message.
pub(super) fn delete(sql: &Sql, inbound: i64) -> Result<()> {
    sql.prepare_cached("DELETE FROM media WHERE inbound = ?1")
        .and_then(|mut s| s.execute([inbound]))
        .map(drop)
        .map_err(failed)
}
