//! Imports: a table of contacts is first [judged](crate::table), row by row, and only taken over when a person has seen the report.
//!
//! An import speaks of contacts. It neither gives consent nor ends an opt-out, whatever its columns say.

use crate::account::Realm;
use crate::address::PhoneNumber;
use crate::contact::{
    self, Contact, Details, Excess, FieldName, GROUPS_MAX, Group, Invalid, Language, Type, Value, ZoneName,
};
use crate::csv;
use crate::id::{ContactId, ImportId};
use crate::table::{Cells, Mend, Mends, OURS, Reason, Refusal, Report, Subject, Window, cleaned};
use crate::template::{Costs, Origin, Template};
use crate::time::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Characters of the name of an import: that of its file.
pub const NAME_MAX: usize = 200;
/// Time zones that are remembered by name while a file is read.
const ZONES_REMEMBERED: usize = 1_000;
/// An import of which nothing came for so long will not be finished: ms.
const READING_MS: i64 = 60 * 60 * 1_000;
/// How long a report waits for a decision: ms.
const READY_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long refused rows can be fetched after an import is done: ms.
const REFUSED_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

// ── an import ───────────────────────────────────────────────────────────────────────────────────────────────

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The file is being read.
    Reading,
    /// The report is whole and waits for a decision.
    Ready,
    /// The rows are being taken over.
    Committing,
    /// They were.
    Done,
    /// The file broke off, or is no table that can be read; or, once it was decided, the store lost rows of it.
    Broken,
    /// Somebody decided against it, or nobody decided for a week.
    Discarded,
}

impl State {
    /// All of them; the place in this list is the number in the store.
    pub const ALL: [Self; 6] =
        [Self::Reading, Self::Ready, Self::Committing, Self::Done, Self::Broken, Self::Discarded];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Ready => "ready",
            Self::Committing => "committing",
            Self::Done => "done",
            Self::Broken => "broken",
            Self::Discarded => "discarded",
        }
    }

    /// Whether a decision was made of it: to make it once more would change nothing.
    pub fn is_decided(self, decision: Decision) -> bool {
        self.decided(decision) == Some(self)
    }

    /// What it is after a decision; `None` if it cannot be decided so any more. The same decision twice is one.
    pub const fn decided(self, decision: Decision) -> Option<Self> {
        match (decision, self) {
            (Decision::Commit, Self::Ready | Self::Committing) => Some(Self::Committing),
            (Decision::Commit, Self::Done) => Some(Self::Done),
            (Decision::Discard, Self::Reading | Self::Ready | Self::Discarded) => Some(Self::Discarded),
            (Decision::Discard, Self::Broken) => Some(Self::Broken),
            (Decision::Commit, Self::Reading | Self::Broken | Self::Discarded)
            | (Decision::Discard, Self::Committing | Self::Done) => None,
        }
    }

    /// What time makes of it.
    pub fn aged(self, updated_at: Timestamp, now: Timestamp) -> Self {
        let age_ms = now.since_ms(updated_at);
        match self {
            Self::Reading if age_ms > READING_MS => Self::Broken,
            Self::Ready if age_ms > READY_MS => Self::Discarded,
            other => other,
        }
    }

    /// Whether its rows are still needed, the refused ones included.
    pub fn keeps_rows(self, updated_at: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Reading | Self::Ready | Self::Committing => true,
            Self::Done => now.since_ms(updated_at) <= REFUSED_MS,
            Self::Broken | Self::Discarded => false,
        }
    }
}

/// What a person decides about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take the rows over.
    Commit,
    /// Forget them.
    Discard,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// Whose contacts.
    pub realm: Realm,
    /// What it is called: the name of its file.
    pub name: String,
    /// Who brought it.
    pub who: String,
    /// How far it is.
    pub state: State,
    /// The headings of the table, in their order.
    pub headings: Vec<String>,
    /// What was found in it.
    pub report: Report,
    /// What was taken over.
    pub progress: Progress,
    /// When it began.
    pub created_at: Timestamp,
    /// When anything was last done about it.
    pub updated_at: Timestamp,
}

/// What was taken over so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Contacts that were made.
    pub created: u64,
    /// Contacts that a row changed.
    pub changed: u64,
    /// Rows that said of a contact what was known.
    pub unchanged: u64,
    /// Rows that were not taken over, because their contact would have too many fields or groups.
    pub over: u64,
}

impl Progress {
    /// Rows that are done.
    pub const fn rows(&self) -> u64 {
        self.created + self.changed + self.unchanged + self.over
    }

    /// With those of one more commit.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            created: self.created + more.created,
            changed: self.changed + more.changed,
            unchanged: self.unchanged + more.unchanged,
            over: self.over + more.over,
        }
    }
}

// ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────

/// A row that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The id of the contact, if it becomes a new one; 0 until it is [numbered](Window::numbered).
    pub id: ContactId,
    /// The number that it is about.
    pub number: PhoneNumber,
    /// What it says.
    pub details: Details,
    /// Octets that it had in the file.
    pub octets: u32,
}

impl Window<Row> {
    /// The same, with an id for each row that can be taken over.
    #[must_use]
    pub fn numbered(mut self, mut id: impl FnMut() -> ContactId) -> Self {
        self.rows.iter_mut().for_each(|row| row.id = id());
        self
    }
}

// ── the table ───────────────────────────────────────────────────────────────────────────────────────────────

/// What a column is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The name.
    Name,
    /// The language.
    Language,
    /// The time zone.
    Zone,
    /// Who looks after the person.
    Owner,
    /// Groups, with `;` or `|` between.
    Groups,
    /// A field, and the type of its values.
    Field(FieldName, Type),
}

/// A table of contacts, each row of another number. What is remembered of a row is its number.
#[derive(Debug, Default)]
pub struct Contacts {
    /// Groups that every row is in.
    groups: BTreeSet<Group>,
    /// Of which a message to each row is thought of.
    template: Option<Arc<Template>>,
    /// Numbers of rows that can be taken over.
    seen: HashSet<u64>,
    zones: HashMap<String, Result<ZoneName, Invalid>>,
}

impl Contacts {
    /// All of which are in these groups, besides those of their own.
    pub fn in_groups(groups: impl IntoIterator<Item = Group>) -> Self {
        Self { groups: groups.into_iter().collect(), ..Self::default() }
    }

    /// With a report of what messages of this template to the rows would cost. A value is what the row says: the name as `name`, and
    /// each field by its name.
    #[must_use]
    pub fn costed_by(self, template: Option<Arc<Template>>) -> Self {
        Self { template, ..self }
    }

    fn zone(&mut self, text: &str) -> Result<ZoneName, Invalid> {
        if self.zones.len() >= ZONES_REMEMBERED {
            self.zones.clear();
        }
        if let Some(known) = self.zones.get(text) {
            return known.clone();
        }
        let read = ZoneName::parse(text);
        self.zones.insert(text.to_owned(), read.clone());
        read
    }

    fn details(&mut self, cells: &Cells<'_, Column>, mends: &mut Mends) -> Result<Details, Refusal> {
        let mut details = Details { groups: self.groups.clone(), ..Details::default() };
        for (n, column, cell) in cells.filled() {
            let wrong = |why| (Reason::Cell(why), Some(n));
            let text = cleaned(cell, matches!(column, Column::Field(_, Type::Text)), mends);
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let is_text = matches!(
                column,
                Column::Name | Column::Owner | Column::Groups | Column::Field(_, Type::Text)
            );
            if is_text && csv::is_formula(text) {
                mends.add(Mend::Formula);
            }
            match column {
                Column::Name => {
                    details.name = Some(contact::line(text, contact::NAME_MAX).map_err(wrong)?);
                }
                Column::Owner => {
                    details.owner = Some(contact::line(text, contact::OWNER_MAX).map_err(wrong)?);
                }
                Column::Language => details.language = Some(Language::parse(text).map_err(wrong)?),
                Column::Zone => details.zone = Some(self.zone(text).map_err(wrong)?),
                Column::Groups => {
                    for part in text.split([';', '|']).filter(|part| !part.trim().is_empty()) {
                        details.groups.insert(Group::parse(part).map_err(wrong)?);
                    }
                    if details.groups.len() > GROUPS_MAX {
                        return Err((Reason::Groups, Some(n)));
                    }
                }
                Column::Field(name, wanted) => {
                    let value = Value::parse(text, *wanted).map_err(wrong)?;
                    details.fields.insert(name.clone(), value);
                }
            }
        }
        match details.check() {
            Ok(()) => Ok(details),
            Err(Excess::Groups) => Err((Reason::Groups, None)),
            Err(Excess::Fields) => Err((Reason::Cells, None)),
        }
    }
}

impl Subject for Contacts {
    type Column = Column;
    type Row = Row;

    fn column(&self, heading: &str, folded: &str) -> Option<Column> {
        match folded {
            "name" | "fullname" => Some(Column::Name),
            "language" | "lang" | "locale" => Some(Column::Language),
            "timezone" | "tz" | "zone" => Some(Column::Zone),
            "owner" => Some(Column::Owner),
            "groups" | "group" => Some(Column::Groups),
            name if OURS.contains(&name) => None,
            _ => {
                let typed = heading
                    .rsplit_once(':')
                    .and_then(|(heading, word)| Type::parse(word).map(|wanted| (heading, wanted)));
                let (heading, wanted) = typed.unwrap_or((heading, Type::Text));
                FieldName::of_heading(heading).ok().map(|name| Column::Field(name, wanted))
            }
        }
    }

    fn is_same(one: &Column, other: &Column) -> bool {
        match (one, other) {
            (Column::Field(one, _), Column::Field(other, _)) => one == other,
            (one, other) => one == other,
        }
    }

    fn judge(
        &mut self,
        number: PhoneNumber,
        cells: &Cells<'_, Column>,
        mends: &mut Mends,
    ) -> Result<Row, Refusal> {
        if self.seen.contains(&number.digits()) {
            return Err((Reason::Duplicate, None));
        }
        let details = self.details(cells, mends)?;
        self.seen.insert(number.digits());
        let octets = u32::try_from(cells.octets).unwrap_or(u32::MAX);
        Ok(Row { id: ContactId::from_key(0), number, details, octets })
    }

    fn look(&mut self, rows: &[Row], report: &mut Report) {
        let Some(template) = &self.template else { return };
        let origin = Origin { template: template.id, version: template.version };
        let (_, costs) = report.costs.get_or_insert_with(|| (origin, Costs::default()));
        template.content.add_costs(costs, rows.iter().map(|row| &row.details), None, &[]);
    }

    fn number(row: &Row) -> PhoneNumber {
        row.number
    }
}

// ── taking over ─────────────────────────────────────────────────────────────────────────────────────────────

/// What follows from some rows, given the contacts that have their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// New contacts, in the order of their rows.
    pub created: Vec<Contact>,
    /// Contacts before and after their change.
    pub changed: Vec<(Contact, Contact)>,
    /// The sums.
    pub progress: Progress,
}

/// Takes rows over: a row whose number a contact has changes it, any other becomes a contact. `known` are all contacts with one
/// of the numbers, each once.
pub fn take_over(rows: &[Row], known: Vec<Contact>, realm: Realm, now: Timestamp) -> Taken {
    let by_number: HashMap<PhoneNumber, usize> = known
        .iter()
        .enumerate()
        .flat_map(|(n, contact)| contact.numbers.iter().map(move |number| (*number, n)))
        .collect();
    let mut after: Vec<Option<Contact>> = vec![None; known.len()];
    let mut taken = Taken::default();
    for row in rows {
        let Some(&n) = by_number.get(&row.number) else {
            let details = row.details.clone();
            let numbers = vec![row.number];
            taken.created.push(Contact {
                id: row.id,
                realm,
                numbers,
                details,
                created_at: now,
                updated_at: now,
            });
            taken.progress.created += 1;
            continue;
        };
        let before = after[n].as_ref().unwrap_or(&known[n]);
        match before.merged(&row.details, now) {
            Ok(merged) if merged.details == before.details => taken.progress.unchanged += 1,
            Ok(merged) => {
                after[n] = Some(merged);
                taken.progress.changed += 1;
            }
            Err(Excess::Fields | Excess::Groups) => taken.progress.over += 1,
        }
    }
    let changed = known.into_iter().zip(after).filter_map(|(before, after)| Some((before, after?)));
    taken.changed = changed.collect();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Environment;
    use crate::address::Country;
    use crate::id::AccountId;
    use crate::table::{Options, REFUSED, Reader, Unusable, folded};
    use proptest::prelude::*;

    fn reader() -> Reader<Contacts> {
        let options = Options {
            environment: Environment::Live,
            default_country: Country::parse("SE").ok(),
            number_column: None,
        };
        Reader::new(options, Contacts::default())
    }

    fn try_read(table: &str) -> Result<(Window<Row>, Report), Unusable> {
        let mut reader = reader();
        for piece in table.as_bytes().chunks(13) {
            reader.feed(piece)?;
        }
        reader.end()?;
        let mut id = 0;
        let window = reader.take().numbered(|| {
            id += 1;
            ContactId::from_key(id)
        });
        Ok((window, reader.report().clone()))
    }

    fn read(table: &str) -> (Window<Row>, Report) {
        try_read(table).expect("a table")
    }

    /// What a heading means.
    fn meaning(heading: &str) -> Option<Column> {
        Contacts::default().column(heading, &folded(heading))
    }

    #[test]
    fn columns_mean_what_their_headings_say() {
        let table = "Name,Mobile,Last visit:date,Visits:number,VIP:yes_no,City,Groups,Time zone,Language,id,\n\
                     Åsa,+46701234567,2026-01-02,3.50,yes,=Lund,gold; new|gold,europe/stockholm,SV,ctc_1,\n\
                     ,+46701234568,,,,,,,,,\n\
                     Bo,+46701234569,1.2.2026,,,,,,,,\n\
                     Bo,+46701234570,,many,,,,,,,\n\
                     Bo,+46701234571,,,,,,Lund,,,\n\
                     Bo,+46701234572,,,,,,,,,,extra\n";
        let (window, report) = read(table);
        let row = &window.rows[0];
        let cell = |name: &str| row.details.fields[&FieldName::parse(name).expect("a name")].to_string();
        assert_eq!(["last_visit", "visits", "vip", "city"].map(cell), ["2026-01-02", "3.5", "yes", "=Lund"]);
        assert_eq!(row.details.name.as_deref(), Some("Åsa"));
        let groups: Vec<&str> = row.details.groups.iter().map(Group::as_str).collect();
        assert_eq!(groups, ["gold", "new"]);
        assert_eq!(row.details.zone.as_ref().map(ZoneName::as_str), Some("Europe/Stockholm"));
        assert_eq!(row.details.language.as_ref().map(Language::as_str), Some("sv"));
        assert_eq!(window.rows[1].details, Details::default());
        let refused: Vec<_> = window
            .refused
            .iter()
            .map(|one| (one.line, one.reason.as_str(), one.column.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(
            refused,
            [
                (4, "cell_no_date", "Last visit:date"),
                (5, "cell_no_number", "Visits:number"),
                (6, "cell_no_time_zone", "Time zone"),
                (7, "too_many_cells", ""),
            ]
        );
        assert_eq!((report.rows, report.good, report.mended, report.refused), (6, 1, 1, 4));
        assert_eq!(report.mends, [("formula_kept_as_text".to_owned(), 1)].into());
        assert_eq!(
            (report.ignored, report.countries),
            (vec!["id".to_owned()], [("SE".to_owned(), 2)].into())
        );
    }

    #[test]
    fn no_field_is_called_as_something_else_is() {
        for name in contact::RESERVED.into_iter().filter(|name| *name != "number") {
            assert!(!matches!(meaning(name), Some(Column::Field(..))), "{name}");
            assert_eq!(FieldName::parse(name), Err(Invalid::Reserved));
        }
        for heading in REFUSED {
            assert!(OURS.contains(&folded(heading).as_str()), "{heading}");
            assert_eq!(FieldName::parse(heading), Err(Invalid::Reserved));
        }
    }

    proptest! {
        /// Whatever may be the name of a field: as an export writes it, an import reads it.
        #[test]
        fn a_name_that_is_accepted_comes_back(text in "[a-cA-Cé2_ :ǅßİ-]{1,8}|\\PC{1,6}|[a-z]{2,7}_?[a-z]{2,6}") {
            if let Ok(name) = FieldName::parse(&text) {
                prop_assert_eq!(FieldName::parse(name.as_str()), Ok(name.clone()));
                for kind in Type::ALL {
                    let typed = if kind == Type::Text { String::new() } else { format!(":{}", kind.as_str()) };
                    prop_assert_eq!(meaning(&format!("{name}{typed}")), Some(Column::Field(name.clone(), kind)));
                }
            }
        }
    }

    #[test]
    fn the_first_good_row_of_a_number_counts() {
        let table =
            "number,born:date\n+46701234567,never\n0701234567,2001-02-03\n+46 70 123 45 67,2002-02-03\n";
        let (window, report) = read(table);
        assert_eq!((window.rows.len(), report.duplicates, report.refused), (1, 1, 1));
        assert_eq!(window.refused[1].reason, "duplicate");
        assert_eq!(
            window.rows[0].details.fields.values().next().map(ToString::to_string).as_deref(),
            Some("2001-02-03")
        );
        assert_eq!(report.reasons, [("cell_no_date".to_owned(), 1)].into());
    }

    #[test]
    fn two_columns_of_one_meaning_are_refused() {
        for table in ["number,city,City\n", "number,visits:number,visits\n", "number,tz,zone\n"] {
            let refused = try_read(table).expect_err("two columns");
            assert_eq!(refused.code(), "same_column_twice", "{table}");
        }
    }

    #[test]
    fn each_row_of_a_window_has_an_id_of_its_own() {
        let (window, _) = read("to\n+46701234569\n+46701234567\n");
        let ids: Vec<_> = window.rows.iter().map(|row| (row.id.key(), row.number.to_string())).collect();
        assert_eq!(ids, [(1, "+46701234567".to_owned()), (2, "+46701234569".to_owned())]);
    }

    #[test]
    fn a_number_is_taken_over_once_and_two_of_one_person_together() {
        let realm = Realm { account: AccountId::from_key(1), environment: Environment::Live };
        let number = |digits| PhoneNumber::from_digits(digits).expect("a number");
        let named = |name: &str| Details { name: Some(name.to_owned()), ..Details::default() };
        let row = |id, digits, name| Row {
            id: ContactId::from_key(id),
            number: number(digits),
            details: named(name),
            octets: 9,
        };
        let known = Contact {
            id: ContactId::from_key(9),
            realm,
            numbers: vec![number(46_700_000_001), number(46_700_000_002)],
            details: named("Åsa"),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(1),
        };
        let rows = [row(1, 46_700_000_001, "Bo"), row(2, 46_700_000_002, "Bo"), row(3, 46_700_000_003, "Ed")];
        let taken = take_over(&rows, vec![known.clone()], realm, Timestamp::from_millis(5));
        assert_eq!(taken.progress, Progress { created: 1, changed: 1, unchanged: 1, over: 0 });
        assert_eq!(taken.changed[0].0, known);
        assert_eq!(taken.changed[0].1.details, named("Bo"));
        assert_eq!(
            (taken.created[0].id, taken.created[0].numbers.clone()),
            (ContactId::from_key(3), vec![number(46_700_000_003)])
        );
    }

    #[test]
    fn a_decision_is_made_once() {
        use Decision::{Commit, Discard};
        use State::*;
        let check = |decision, expected: [Option<State>; 6]| {
            assert_eq!(State::ALL.map(|state| state.decided(decision)), expected, "{decision:?}");
        };
        check(Commit, [None, Some(Committing), Some(Committing), Some(Done), None, None]);
        check(Discard, [Some(Discarded), Some(Discarded), None, None, Some(Broken), Some(Discarded)]);
        let stand = |decision| State::ALL.into_iter().filter(move |state| state.is_decided(decision));
        assert_eq!(stand(Commit).collect::<Vec<_>>(), [Committing, Done]);
        assert_eq!(stand(Discard).collect::<Vec<_>>(), [Broken, Discarded]);
        let (then, later) = (Timestamp::from_millis(0), Timestamp::from_millis(READY_MS + 1));
        assert_eq!(
            State::ALL.map(|state| state.aged(then, later)),
            [Broken, Discarded, Committing, Done, Broken, Discarded]
        );
        assert_eq!(State::ALL.map(|state| state.aged(then, then)), State::ALL);
    }
}
