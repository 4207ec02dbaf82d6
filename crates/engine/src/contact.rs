//! Contacts as one table, read page by page, so that a million take no more memory than a page.

use crate::segment;
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::contact::{Contact, FieldName, Group, Language, Type, ZoneName};
use tidings_domain::csv::write_row;
use tidings_domain::segment::{Query, Segment};
use tidings_domain::time::Timestamp;
use tidings_store::{Actor, Backend, ContactFilter, Page, Result};

/// Contacts of one page.
const STEP: usize = 500;

/// Places between the newest contact and the oldest from which a sample is taken.
const SAMPLE_PLACES: i64 = 30;
/// Contacts that are read at each: so many are in a sample at most, from each place.
const SAMPLE_EACH: usize = 10;
/// Contacts that are looked at at each where only some are wanted.
const SAMPLE_LOOKED: usize = 100;

/// Contacts from all over a group, or of all if none is named: 300 at most, and all there are if they are few. With a query, those
/// among 3,000 that it finds at this moment; the history that it asks for was [read](segment::read_history) before.
///
/// # Errors
/// The store does not answer.
pub async fn sample(
    store: &dyn Backend,
    realm: Realm,
    group: Option<Group>,
    query: Option<(&Query, Timestamp)>,
) -> Result<Vec<Contact>> {
    let filter = ContactFilter { number: None, group };
    let read = async |before: Option<i64>, limit| {
        let found = store.contacts(realm, filter.clone(), Page { before, limit }).await?;
        Ok::<_, tidings_store::Error>(found.items)
    };
    let Some(newest) = read(None, 1).await?.first().map(|contact| contact.id.key()) else {
        return Ok(Vec::new());
    };
    // The oldest lies above `none`, and not above `oldest`; so near is near enough.
    let (mut none, mut oldest) = (0, newest);
    while oldest - none > ((newest - oldest) / SAMPLE_PLACES).max(1) {
        let middle = none + (oldest - none) / 2;
        match read(Some(middle), 1).await?.first() {
            Some(contact) => oldest = contact.id.key(),
            None => none = middle,
        }
    }
    let each = if query.is_some() { SAMPLE_LOOKED } else { SAMPLE_EACH };
    let mut sample = Vec::new();
    let mut last = i64::MAX;
    for place in 0..SAMPLE_PLACES {
        let from = newest - (newest - oldest) / SAMPLE_PLACES * place;
        let mut found = read(Some(from.saturating_add(1).min(last)), each).await?;
        let Some(end) = found.last() else { break };
        last = end.id.key();
        if let Some((query, now)) = query {
            found = segment::found(store, realm, query, found, now).await?;
        }
        found.truncate(SAMPLE_EACH);
        sample.append(&mut found);
    }
    Ok(sample)
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated (RFC 4180), in cells that cannot act.
    Csv,
    /// One JSON object a line, as `GET /v1/contacts` shows it.
    Ndjson,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Ndjson];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// From the public word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == word)
    }
}

/// Contacts on their way out, the newest first.
#[derive(Debug)]
pub struct Export {
    realm: Realm,
    filter: ContactFilter,
    /// Only whom it finds, as of this moment.
    query: Option<(Query, Timestamp)>,
    form: Form,
    /// The columns of fields, once they are known.
    columns: Option<Vec<(FieldName, Type)>>,
    before: Option<i64>,
    is_ended: bool,
}

impl Export {
    /// Before the first contact; of one group, if one is named, and only whom a segment finds at this moment, if one is given: the
    /// history that it asks for was [read](crate::segment::read_history) before. Leaves a line in the audit trail, since no row may
    /// leave before it.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn begin(
        store: &dyn Backend,
        actor: Actor,
        realm: Realm,
        wanted: (Option<Group>, Option<Segment>),
        form: Form,
        now: Timestamp,
    ) -> Result<Self> {
        let (group, segment) = wanted;
        let subject = exported(group.as_ref(), segment.as_ref());
        let (action, detail) = ("contact.export".to_owned(), form.as_str().to_owned());
        store.record_audit(actor, action, subject, detail, now).await?;
        let group = group.or_else(|| segment.as_ref().and_then(|segment| segment.query.within().cloned()));
        let query = segment.map(|segment| (segment.query, now));
        Ok(Self::new(realm, ContactFilter { number: None, group }, query, form))
    }

    const fn new(realm: Realm, filter: ContactFilter, query: Option<(Query, Timestamp)>, form: Form) -> Self {
        Self { realm, filter, query, form, columns: None, before: None, is_ended: false }
    }

    /// The next part of the table; `None` behind its end. Before a table of cells begins, all contacts are read once for the
    /// fields that they have; a field that comes meanwhile is left out.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn next(&mut self, store: &dyn Backend) -> Result<Option<String>> {
        if self.form == Form::Csv && self.columns.is_none() {
            let columns = self.look(store).await?;
            let mut text = String::new();
            write_row(&mut text, FIRST);
            // The line goes on with the fields.
            text.truncate(text.trim_end().len());
            for (name, kind) in &columns {
                text.push(',');
                text.push_str(name.as_str());
                if *kind != Type::Text {
                    text.push(':');
                    text.push_str(kind.as_str());
                }
            }
            text.push_str("\r\n");
            self.columns = Some(columns);
            return Ok(Some(text));
        }
        let Some(page) = self.page(store).await? else { return Ok(None) };
        let mut text = String::new();
        for contact in &page {
            match &self.columns {
                Some(columns) => row(&mut text, contact, columns),
                None => {
                    let shown = tidings_wire::contact::shown(contact);
                    text.push_str(&serde_json::to_string(&shown).expect("texts and numbers are JSON"));
                    text.push('\n');
                }
            }
        }
        Ok(Some(text))
    }

    async fn page(&mut self, store: &dyn Backend) -> Result<Option<Vec<Contact>>> {
        if self.is_ended {
            return Ok(None);
        }
        let page = Page { before: self.before, limit: STEP };
        let found = store.contacts(self.realm, self.filter.clone(), page).await?;
        self.before = found.next;
        self.is_ended = found.next.is_none();
        match &self.query {
            Some((query, now)) => segment::found(store, self.realm, query, found.items, *now).await.map(Some),
            None => Ok(Some(found.items)),
        }
    }

    /// The fields that contacts have, with their type: text, where they differ.
    async fn look(&self, store: &dyn Backend) -> Result<Vec<(FieldName, Type)>> {
        let mut columns: BTreeMap<FieldName, Type> = BTreeMap::new();
        let mut ahead = Self::new(self.realm, self.filter.clone(), self.query.clone(), self.form);
        while let Some(page) = ahead.page(store).await? {
            for (name, value) in page.iter().flat_map(|contact| &contact.details.fields) {
                match columns.get_mut(name) {
                    Some(kind) if *kind != value.kind() => *kind = Type::Text,
                    Some(_) => {}
                    None => {
                        columns.insert(name.clone(), value.kind());
                    }
                }
            }
        }
        Ok(columns.into_iter().collect())
    }
}

/// What the trail says of who is taken out.
fn exported(group: Option<&Group>, segment: Option<&Segment>) -> String {
    match (group, segment) {
        (None, None) => "all".to_owned(),
        (Some(group), None) => group.to_string(),
        (None, Some(segment)) => segment.id.to_string(),
        (Some(group), Some(segment)) => format!("{} in {group}", segment.id),
    }
}

/// The columns that every table has. An import reads all of them but the last four, which it passes over.
const FIRST: [&str; 10] = [
    "number",
    "name",
    "language",
    "time_zone",
    "owner",
    "groups",
    "other_numbers",
    "id",
    "created_at",
    "updated_at",
];

fn row(text: &mut String, contact: &Contact, columns: &[(FieldName, Type)]) {
    let details = &contact.details;
    let numbers: Vec<String> = contact.numbers.iter().map(ToString::to_string).collect();
    let others = numbers.get(1..).unwrap_or_default().join(";");
    let groups = details.groups.iter().map(Group::as_str).collect::<Vec<_>>().join(";");
    let (id, created, updated) =
        (contact.id.to_string(), contact.created_at.to_string(), contact.updated_at.to_string());
    let first = [
        numbers.first().map_or("", String::as_str),
        details.name.as_deref().unwrap_or_default(),
        details.language.as_ref().map_or("", Language::as_str),
        details.zone.as_ref().map_or("", ZoneName::as_str),
        details.owner.as_deref().unwrap_or_default(),
        &groups,
        &others,
        &id,
        &created,
        &updated,
    ];
    let fields: Vec<String> = columns
        .iter()
        .map(|(name, _)| details.fields.get(name).map(ToString::to_string).unwrap_or_default())
        .collect();
    write_row(text, first.into_iter().chain(fields.iter().map(String::as_str)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tidings_domain::account::Environment;
    use tidings_domain::address::PhoneNumber;
    use tidings_domain::contact::Details;
    use tidings_domain::id::{AccountId, ContactId};
    use tidings_store::model::{Disk, Model};

    const REALM: Realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };

    /// Contacts with these ids, of whom each third is in a group.
    async fn with(ids: &[i64]) -> Model {
        let store = Model::new(Disk::new());
        let actor = Actor { account: REALM.account, who: "tester".to_owned() };
        for (place, id) in ids.iter().enumerate() {
            let group = (place % 3 == 0).then(|| Group::parse("third").expect("a group"));
            let contact = Contact {
                id: ContactId::from_key(*id),
                realm: REALM,
                numbers: vec![PhoneNumber::from_digits(46_700_000_000 + place as u64).expect("a number")],
                details: Details { groups: group.into_iter().collect(), ..Details::default() },
                created_at: Timestamp::from_millis(1),
                updated_at: Timestamp::from_millis(1),
            };
            store.create_contact(contact, actor.clone()).await.expect("made");
        }
        store
    }

    async fn sampled(store: &Model, group: Option<&str>) -> Vec<i64> {
        let group = group.map(|name| Group::parse(name).expect("a group"));
        let sample = sample(store, REALM, group, None).await.expect("read");
        let ids: Vec<i64> = sample.iter().map(|contact| contact.id.key()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "none comes twice: {ids:?}");
        ids
    }

    #[tokio::test]
    async fn a_sample_is_from_all_over_and_of_few_it_is_all() {
        assert!(sampled(&with(&[]).await, None).await.is_empty());
        assert_eq!(sampled(&with(&[1]).await, None).await, [1]);
        assert_eq!(sampled(&with(&[i64::MAX - 1, 5, 4]).await, None).await, [i64::MAX - 1, 5, 4]);

        const STEP: i64 = 1 << 40;
        let many: Vec<i64> = (1..=1_000).map(|n| (1 << 60) + n * STEP).collect();
        let store = with(&many).await;
        for (group, of) in [(None, 300), (Some("third"), 300), (Some("nobody"), 0)] {
            let ids = sampled(&store, group).await;
            assert!(ids.len() <= of, "{group:?}: {}", ids.len());
            if of > 0 {
                assert!(ids.len() >= 250, "{group:?}: {}", ids.len());
                for part in 0..10 {
                    let of_part = ids.iter().filter(|id| (*id - (1 << 60)) / STEP * 10 / 1_001 == part);
                    assert!(of_part.count() >= 20, "{group:?}: {part} of {ids:?}");
                }
            }
        }
    }
}
