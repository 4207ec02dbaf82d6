//! Imports of contacts: how far one is, and what was found.

use crate::show::Shown;
use crate::template::TemplateOrigin;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_domain::id::ImportId;
use tidings_domain::import;
use tidings_domain::template::{self, Origin};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// A table of contacts that was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Import<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<ImportId>,
    /// What it is called.
    pub name: &'a str,
    /// `reading`, `ready` (the report waits for a decision), `committing`, `done`, `broken` (the file broke off or is no table, or stored rows were damaged)
    /// or `discarded`.
    pub state: &'static str,
    /// The headings of the table.
    pub headings: &'a [String],
    /// What was found in it.
    pub report: Report<'a>,
    /// What was taken over.
    pub progress: Progress,
    /// When it began.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When anything was last done about it.
    #[schema(value_type = String)]
    pub updated_at: Shown<Timestamp>,
}

/// What was found in a table. `rows` is the sum of `good`, `mended`, `duplicates` and `refused`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportReport)]
pub struct Report<'a> {
    /// Octets that were read.
    pub octets: u64,
    /// Rows below the headings.
    pub rows: u64,
    /// Those that are as they should be.
    pub good: u64,
    /// Those of which something was mended.
    pub mended: u64,
    /// Those whose number an earlier row has; not taken over.
    pub duplicates: u64,
    /// Those that cannot be taken over.
    pub refused: u64,
    /// Of the good and the mended: those whose number a contact had already. They change that contact.
    pub known: u64,
    /// Of the good and the mended: those whose number is on the suppression list. They stay there.
    pub suppressed: u64,
    /// What was mended, and of how many rows.
    pub mends: &'a BTreeMap<String, u64>,
    /// Why rows were refused, and how many.
    pub reasons: &'a BTreeMap<String, u64>,
    /// The countries of the numbers of good and mended rows.
    pub countries: &'a BTreeMap<String, u64>,
    /// Columns that are not taken over.
    pub ignored_columns: &'a [String],
    /// What messages of a template to the good and the mended would cost; null if none was named.
    pub costs: Option<Costs<'a>>,
}

/// What messages of a template to the rows of an import would cost, each filled with what its row says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportCosts)]
pub struct Costs<'a> {
    /// Of which template.
    pub template: TemplateOrigin,
    /// To how many rows there would be a message.
    pub filled: u64,
    /// To how many there would be none: they lack a value, or what they make cannot be sent.
    pub unfilled: u64,
    /// Which values those lack, or have not as the template takes them, and how many of them do. A row may lack several.
    pub lacking: &'a BTreeMap<String, u64>,
    /// The segments of all messages together.
    pub segments: u64,
    /// Half of the messages have no more segments than this; null if there are none.
    pub median_segments: Option<u32>,
    /// The most segments that one of them has.
    pub worst_segments: Option<u32>,
}

impl<'a> Costs<'a> {
    fn new((origin, costs): &'a (Origin, template::Costs)) -> Self {
        Self {
            template: TemplateOrigin::new(*origin),
            filled: costs.filled(),
            unfilled: costs.unfilled,
            lacking: &costs.lacking,
            segments: costs.segments(),
            median_segments: costs.median(),
            worst_segments: costs.worst(),
        }
    }
}

/// What was taken over so far.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportProgress)]
pub struct Progress {
    /// Rows that are done.
    pub rows: u64,
    /// Rows that there are to be done.
    pub of: u64,
    /// Contacts that were made.
    pub created: u64,
    /// Rows that changed a contact.
    pub changed: u64,
    /// Rows that said what was known.
    pub unchanged: u64,
    /// Rows that were left out, because their contact would have too many fields or groups.
    pub left_out: u64,
}

/// Shows an import.
pub fn shown(import: &import::Import) -> Import<'_> {
    let import::Import { report, progress, .. } = import;
    Import {
        id: Shown(import.id),
        name: &import.name,
        state: import.state.as_str(),
        headings: &import.headings,
        report: Report {
            octets: report.octets,
            rows: report.rows,
            good: report.good,
            mended: report.mended,
            duplicates: report.duplicates,
            refused: report.refused,
            known: report.known,
            suppressed: report.suppressed,
            mends: &report.mends,
            reasons: &report.reasons,
            countries: &report.countries,
            ignored_columns: &report.ignored,
            costs: report.costs.as_ref().map(Costs::new),
        },
        progress: Progress {
            rows: progress.rows(),
            of: report.accepted(),
            created: progress.created,
            changed: progress.changed,
            unchanged: progress.unchanged,
            left_out: progress.over,
        },
        created_at: Shown(import.created_at),
        updated_at: Shown(import.updated_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::id::{AccountId, TemplateId};

    #[test]
    fn an_import_is_shown_with_its_report() {
        let at = Timestamp::from_millis(1_790_000_000_000);
        let import = import::Import {
            id: ImportId::from_key(7),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Live },
            name: "people.csv".to_owned(),
            who: "operator".to_owned(),
            state: import::State::Committing,
            headings: vec!["phone".to_owned(), "id".to_owned()],
            report: tidings_domain::table::Report {
                octets: 120,
                rows: 6,
                good: 2,
                mended: 1,
                duplicates: 1,
                refused: 2,
                known: 1,
                suppressed: 1,
                mends: [("country_code_added".to_owned(), 1)].into(),
                reasons: [("no_number".to_owned(), 2)].into(),
                countries: [("SE".to_owned(), 3)].into(),
                ignored: vec!["id".to_owned()],
                costs: Some((
                    Origin { template: TemplateId::from_key(9), version: 2 },
                    template::Costs {
                        messages: [(1, 1), (3, 1)].into(),
                        unfilled: 1,
                        lacking: [("name".to_owned(), 1)].into(),
                    },
                )),
            },
            progress: import::Progress { created: 1, changed: 1, unchanged: 0, over: 0 },
            created_at: at,
            updated_at: at,
        };
        crate::message::tests::golden("import.json", &serde_json::to_string_pretty(&shown(&import)).unwrap());
    }
}
