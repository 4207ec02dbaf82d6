//! Imports.

use super::{Tables, page_of};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::contact::Contact;
use tidings_domain::id::{ContactId, ImportId};
use tidings_domain::import::{self, Decision, Import, Row, State};
use tidings_domain::table::Refused;
use tidings_domain::time::Timestamp;

/// Every import.
#[derive(Debug, Clone, Default)]
pub(super) struct Imports {
    all: BTreeMap<ImportId, Kept>,
}

/// An import with its rows. Places of pieces begin at 1 and are not given again while an import has pieces of the kind.
#[derive(Debug, Clone)]
struct Kept {
    import: Import,
    rows: BTreeMap<i64, Vec<Row>>,
    refused: BTreeMap<i64, Vec<Refused>>,
    is_swept: bool,
}

fn add<T: Clone>(to: &mut BTreeMap<i64, Vec<T>>, pieces: Vec<&[T]>) {
    for piece in pieces {
        let place = to.keys().next_back().copied().unwrap_or_default() + 1;
        to.insert(place, piece.to_vec());
    }
}

impl Imports {
    fn of_realm(&mut self, realm: Realm, id: ImportId) -> Option<&mut Kept> {
        self.all.get_mut(&id).filter(|kept| kept.import.realm == realm)
    }

    /// Ends imports that nobody goes on with, and throws away rows that nobody needs.
    pub(super) fn sweep(&mut self, limit: usize, now: Timestamp) -> bool {
        for kept in self.all.values_mut().filter(|kept| !kept.is_swept).take(limit) {
            kept.import.state = kept.import.state.aged(kept.import.updated_at, now);
            if kept.import.state.keeps_rows(kept.import.updated_at, now) {
                continue;
            }
            let mut gone = 0;
            while gone < PIECES_SWEPT && kept.rows.pop_first().is_some() {
                gone += 1;
            }
            while gone < PIECES_SWEPT && kept.refused.pop_first().is_some() {
                gone += 1;
            }
            if gone == PIECES_SWEPT {
                return true;
            }
            kept.is_swept = true;
        }
        false
    }
}

impl Tables {
    pub(super) fn begin_import(&mut self, import: Import) -> Result<()> {
        if self.imports.all.contains_key(&import.id) {
            return Err(Error::Conflict(format!("there is an import {} already", import.id)));
        }
        let kept = Kept { import, rows: BTreeMap::new(), refused: BTreeMap::new(), is_swept: false };
        self.imports.all.insert(kept.import.id, kept);
        Ok(())
    }

    pub(super) fn stage_import(
        &mut self,
        realm: Realm,
        id: ImportId,
        staged: Staged,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(kept) = self.imports.of_realm(realm, id) else { return Ok(false) };
        if kept.import.state != State::Reading {
            return Ok(false);
        }
        add(&mut kept.rows, pieces(&staged.window.rows, |row| row.octets as usize));
        add(&mut kept.refused, pieces(&staged.window.refused, refused_octets));
        let Staged { headings, report, state, .. } = staged;
        kept.import = Import { headings, report, state, updated_at: now, ..kept.import.clone() };
        Ok(true)
    }

    pub(super) fn decide_import(
        &mut self,
        realm: Realm,
        id: ImportId,
        decision: Decision,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Import>> {
        let Some(kept) = self.imports.of_realm(realm, id) else { return Ok(None) };
        let before = kept.import.state;
        if let Some(state) = before.decided(decision).filter(|state| *state != before) {
            kept.import.state = state;
            kept.import.updated_at = now;
            let decided = kept.import.clone();
            let (action, detail) = decided_line(&decided);
            self.write_audit(&actor, action, id.to_string(), detail, now);
            return Ok(Some(decided));
        }
        Ok(Some(kept.import.clone()))
    }

    pub(super) fn next_import(&mut self) -> Result<Option<ImportId>> {
        let waiting = |kept: &&Kept| kept.import.state == State::Committing;
        Ok(self.imports.all.values().find(waiting).map(|kept| kept.import.id))
    }

    pub(super) fn apply_import(&mut self, id: ImportId, now: Timestamp) -> Result<Option<Import>> {
        let Some(kept) = self.imports.all.get_mut(&id) else { return Ok(None) };
        if kept.import.state != State::Committing {
            return Ok(Some(kept.import.clone()));
        }
        let realm = kept.import.realm;
        if let Some((_, rows)) = kept.rows.pop_first() {
            let mut known: BTreeMap<ContactId, Contact> = BTreeMap::new();
            for row in &rows {
                if let Some(contact) = self.contacts.holder(realm, row.number) {
                    known.insert(contact.id, contact.clone());
                }
            }
            let taken = import::take_over(&rows, known.into_values().collect(), realm, now);
            let after = taken.changed.into_iter().map(|(_, after)| after);
            for contact in taken.created.into_iter().chain(after) {
                self.contacts.put(contact);
            }
            kept.import.progress = kept.import.progress.plus(taken.progress);
        }
        kept.import.updated_at = now;
        if kept.rows.is_empty() {
            kept.import.state = State::Done;
        }
        Ok(Some(kept.import.clone()))
    }

    pub(super) fn import(&mut self, realm: Realm, id: ImportId) -> Result<Option<Import>> {
        Ok(self.imports.of_realm(realm, id).map(|kept| kept.import.clone()))
    }

    pub(super) fn imports(&mut self, realm: Realm, page: Page) -> Result<Paged<Import>> {
        let before = ImportId::from_key(page.before.unwrap_or(i64::MAX));
        let all = self.imports.all.range(..before).rev().map(|(_, kept)| &kept.import);
        Ok(page_of(all.filter(|import| import.realm == realm).cloned(), page, |import| import.id.key()))
    }

    pub(super) fn refused_rows(
        &mut self,
        realm: Realm,
        id: ImportId,
        after: Option<i64>,
    ) -> Result<Option<(Vec<Refused>, i64)>> {
        let Some(kept) = self.imports.of_realm(realm, id) else { return Ok(None) };
        let next = kept.refused.range(after.unwrap_or(0) + 1..).next();
        Ok(next.map(|(place, rows)| (rows.clone(), *place)))
    }
}
