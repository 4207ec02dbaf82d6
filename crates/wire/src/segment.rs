//! Segments of contacts: making, changing, trying and showing them.

use crate::body::{Field, Fields, Json, Kind, Shape};
use crate::contact::Contact;
use crate::error::{Code, FieldError};
use crate::page::{List, cursor};
use crate::show::Shown;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use tidings_domain::consent::Channel;
use tidings_domain::contact::Invalid;
use tidings_domain::id::SegmentId;
use tidings_domain::purpose::Purpose;
use tidings_domain::segment::{self, Change, DAYS_MAX, Known, Node, Query};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

/// Contacts that a preview shows if the caller does not say.
pub const PREVIEW_LIMIT: usize = 10;

const NAME: Field = Field::new(
    "name",
    Kind::Text,
    "Its name, of 1 to 100 characters, which no other segment has. No name looks like the id of a segment.",
)
.example("\"Regulars without an offer lately\"");
const DESCRIPTION: Field =
    Field::new("description", Kind::Text, "What it is for, at most 500 characters; an empty one removes it.");
const QUERY: Field = Field::new("query", Kind::Of("SegmentQuery", query_schema), "Whom it finds.");

/// The body of `POST /v1/segments`.
pub static NEW_SEGMENT: Shape = Shape {
    name: "NewSegment",
    about: "A query over contacts that is kept under a name. Whom it finds is looked for each time that it is asked.",
    fields: &[NAME.required(), DESCRIPTION, QUERY.required()],
};

/// The body of `PATCH /v1/segments/{id}`.
pub static SEGMENT_CHANGE: Shape = Shape {
    name: "SegmentChange",
    about: "What changes. What is not named stays.",
    fields: &[NAME, DESCRIPTION, QUERY],
};

/// The body of `POST /v1/segments/preview`.
pub static PREVIEW: Shape = Shape {
    name: "SegmentPreviewRequest",
    about: "A query to try, which is not kept.",
    fields: &[
        QUERY.required(),
        Field::new("limit", Kind::Integer(1, 100), "Contacts that are shown; 10 if not given."),
    ],
};

/// What a query looks like.
fn query_schema() -> RefOr<Schema> {
    let object = |kind: Type| ObjectBuilder::new().schema_type(SchemaType::new(kind));
    let text = |about: &str| object(Type::String).description(Some(about));
    let word = |words: Vec<&'static str>| object(Type::String).enum_values(Some(words));
    let number = |about: &str| object(Type::Number).description(Some(about));
    let days = |about: &str| {
        let about = Some(about);
        object(Type::Integer).minimum(Some(1.0)).maximum(Some(f64::from(DAYS_MAX))).description(about)
    };
    let queries = || ArrayBuilder::new().items(Ref::from_schema_name("SegmentQuery")).min_items(Some(1));
    let value = || {
        let any = SchemaType::Array(vec![Type::String, Type::Number, Type::Boolean]);
        ObjectBuilder::new().schema_type(any)
    };
    let purposes = || Purpose::ALL.map(Purpose::as_str).to_vec();
    object(Type::Object)
        .description(Some(
            "A condition, or several in `all`, `any` or `not`: exactly one of the keys from `all` to `history`, with those that \
             belong to it. At most 5 levels and 50 conditions. The guide about segments says what each means.",
        ))
        .property("all", queries())
        .property("any", queries())
        .property("not", Ref::from_schema_name("SegmentQuery"))
        .property("field", text("A field of your own; with exactly one of the keys from `is` to `exists`."))
        .property("group", text("The name of a group."))
        .property("language", text("A language (BCP 47); `en` finds `en-GB`, too."))
        .property("country", text("Where the first number is from: two letters of ISO 3166."))
        .property("owner", text("Who looks after the person."))
        .property("known", word(Known::ALL.map(Known::as_str).to_vec()))
        .property("time", word(segment::Which::ALL.map(segment::Which::as_str).to_vec()))
        .property("consent", word(purposes()))
        .property("suppressed", object(Type::Boolean))
        .property("history", word(vec!["sent", "delivered", "failed", "answered"]))
        .property("is", value())
        .property("is_not", value())
        .property("contains", text("Of a text."))
        .property("begins_with", text("Of a text."))
        .property("above", number("Of a number."))
        .property("at_least", number("Of a number."))
        .property("below", number("Of a number."))
        .property("at_most", number("Of a number."))
        .property("from", text("This day or moment, or a later one."))
        .property("before", text("An earlier day or moment."))
        .property("in_last_days", days("At most so many days ago."))
        .property("in_next_days", days("Of a field: at most so many days ahead."))
        .property("exists", object(Type::Boolean))
        .property("channel", word(Channel::ALL.map(Channel::as_str).to_vec()))
        .property("purpose", word(purposes()))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .examples([serde_json::json!({
            "all": [
                { "group": "spring" },
                { "field": "visits", "at_least": 3 },
                { "consent": "marketing" },
                { "not": { "history": "sent", "purpose": "marketing", "in_last_days": 30 } }
            ]
        })])
        .into()
}

/// A segment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSegment {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whom it finds.
    pub query: Query,
}

/// Parses the body of `POST /v1/segments`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>) -> Result<NewSegment, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_SEGMENT.read(json, "", &mut errors);
    let Change { name, description, query } = read(fields, &mut errors);
    match (name, query) {
        (Some(name), Some(query)) if errors.is_empty() => {
            Ok(NewSegment { name, description: description.unwrap_or_default(), query })
        }
        _ => Err(errors),
    }
}

/// Parses the body of `PATCH /v1/segments/{id}`.
///
/// # Errors
/// Everything that is wrong with it, field by field; nothing is to be changed then.
pub fn parse_change(json: &Json<'_>) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = SEGMENT_CHANGE.read(json, "", &mut errors);
    let change = read(fields, &mut errors);
    if errors.is_empty() { Ok(change) } else { Err(errors) }
}

/// Parses the body of `POST /v1/segments/preview`: a query, and how many contacts are to be shown.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_preview(json: &Json<'_>) -> Result<(Query, usize), Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = PREVIEW.read(json, "", &mut errors);
    let limit =
        fields.integer("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PREVIEW_LIMIT);
    match query(fields, &mut errors) {
        Some(query) if errors.is_empty() => Ok((query, limit)),
        _ => Err(errors),
    }
}

/// Parses a query by itself.
///
/// # Errors
/// Everything that is wrong with it, by its path.
pub fn parse_query(json: &Json<'_>) -> Result<Query, Vec<FieldError>> {
    segment::parse(&node(json))
        .map_err(|wrongs| wrongs.into_iter().map(|wrong| query_error(wrong, "")).collect())
}

fn read(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Change {
    let mut line = |name: &'static str, read: fn(&str) -> Result<String, Invalid>| {
        read(fields.text(name)?)
            .map_err(|why| {
                let detail = match why {
                    Invalid::Reserved => "`name` looks like the id of a segment.".to_owned(),
                    why => format!("`{name}`: {why}"),
                };
                errors.push(FieldError::new(name, Code::InvalidRequest, why.code(), detail));
            })
            .ok()
    };
    let name = line("name", segment::name);
    let description = line("description", segment::description);
    Change { name, description, query: query(fields, errors) }
}

fn query(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<Query> {
    // What is no object was said to be none.
    let json = fields.json("query").filter(|json| matches!(json, Json::Object(_)))?;
    match segment::parse(&node(json)) {
        Ok(query) => Some(query),
        Err(wrongs) => {
            errors.extend(wrongs.into_iter().map(|wrong| query_error(wrong, "query")));
            None
        }
    }
}

fn query_error(wrong: segment::Wrong, place: &str) -> FieldError {
    let error =
        FieldError { field: wrong.path.into(), ..FieldError::new("", Code::InvalidQuery, wrong.reason, "") };
    let error = error.within(place);
    let detail =
        if error.field.is_empty() { wrong.detail } else { format!("`{}`: {}", error.field, wrong.detail) };
    FieldError { detail, ..error }
}

fn node(json: &Json<'_>) -> Node {
    match json {
        Json::Null => Node::Null,
        Json::Boolean(yes) => Node::YesNo(*yes),
        Json::Integer(number) => Node::Number(number.to_string()),
        Json::Number(number) => Node::Number(number.to_string()),
        Json::Text(text) => Node::Text(text.clone().into_owned()),
        Json::List(items) => Node::List(items.iter().map(node).collect()),
        Json::Object(entries) => {
            Node::Object(entries.iter().map(|(key, json)| (key.clone().into_owned(), node(json))).collect())
        }
    }
}

/// A query in its written form.
#[derive(Debug)]
pub struct Written(Node);

impl Written {
    /// Of a query.
    pub fn new(query: &Query) -> Self {
        Self(segment::write(query))
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Part(&self.0).serialize(serializer)
    }
}

struct Part<'a>(&'a Node);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Node::Null => serializer.serialize_none(),
            Node::YesNo(yes) => serializer.serialize_bool(*yes),
            Node::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => serializer.serialize_i64(whole),
                (_, Ok(number)) => serializer.serialize_f64(number),
                _ => serializer.serialize_str(text),
            },
            Node::Text(text) => serializer.serialize_str(text),
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Part(item))?;
                }
                list.end()
            }
            Node::Object(entries) => {
                let mut object = serializer.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    object.serialize_entry(key, &Part(node))?;
                }
                object.end()
            }
        }
    }
}

/// A query that is kept under a name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Segment<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<SegmentId>,
    /// Its name.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// Whom it finds.
    #[schema(value_type = Object)]
    pub query: Written,
    /// Since when.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it was last changed.
    #[schema(value_type = String)]
    pub updated_at: Shown<Timestamp>,
}

/// Shows a segment.
pub fn shown(segment: &segment::Segment) -> Segment<'_> {
    Segment {
        id: Shown(segment.id),
        name: &segment.name,
        description: &segment.description,
        query: Written::new(&segment.query),
        created_at: Shown(segment.created_at),
        updated_at: Shown(segment.updated_at),
    }
}

/// A page of the contacts that a segment finds, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentContacts<'a> {
    /// The contacts.
    pub data: Vec<Contact<'a>>,
    /// Give this as `cursor` to get the next page; null on the last one. A page may be empty and still have a next: it looks at
    /// some 5000 contacts at most.
    pub next_cursor: Option<String>,
    /// How many contacts were looked at for it.
    pub scanned: u64,
}

/// How many contacts a segment finds.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentCount {
    /// So many, among those that were looked at.
    pub count: u64,
    /// How many contacts were looked at.
    pub scanned: u64,
    /// Whether that were all. If not, the time of the request was over before: `next_cursor` counts on.
    pub complete: bool,
    /// Give this as `cursor` to count the others, and add the two; null if all were counted.
    pub next_cursor: Option<String>,
}

impl SegmentCount {
    /// Of what was counted up to this place.
    pub fn new(count: u64, scanned: u64, next: Option<i64>) -> Self {
        let next_cursor = next.map(|place| cursor(List::Members, place));
        Self { count, scanned, complete: next.is_none(), next_cursor }
    }
}

/// What a query finds.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentPreview<'a> {
    /// How many contacts, among those that were looked at.
    pub count: u64,
    /// How many contacts were looked at.
    pub scanned: u64,
    /// Whether that were all. If not, the time of the request was over before, and there may be more.
    pub complete: bool,
    /// The first of them, newest first.
    pub data: Vec<Contact<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::id::AccountId;

    fn read(text: &str) -> Result<NewSegment, Vec<FieldError>> {
        parse(&Json::parse(text.as_bytes()).unwrap())
    }

    const EVERYTHING: &str = r#"{"all":[
        {"group":"spring"},{"language":"en-gb"},{"country":"se"},{"owner":" Bo "},{"known":"time_zone"},
        {"any":[{"field":"plan","is":"pro"},{"field":"visits","at_least":3},{"field":"rate","below":-12.5},
                {"field":"tiny","is_not":0.0001},{"field":"vip","is":true},{"field":"since","is":"2026-01-31"},
                {"field":"plan","contains":"ro"},{"field":"plan","begins_with":"p"},{"field":"n","above":1},
                {"field":"n","at_most":2},{"field":"since","from":"2026-01-01"},{"field":"since","before":"2026-02-01"},
                {"field":"since","in_last_days":30},{"field":"ends","in_next_days":7},{"field":"plan","exists":false}]},
        {"time":"created","from":"2026-11-29T12:00:00+01:00"},{"time":"updated","in_last_days":9},
        {"not":{"time":"created","before":"2026-11-29T12:00:00Z"}},
        {"consent":"marketing"},{"suppressed":false},{"history":"delivered"},{"history":"failed","purpose":"alert"},
        {"not":{"history":"sent","purpose":"marketing","in_last_days":30}},{"history":"answered","in_last_days":7}]}"#;

    #[test]
    fn a_segment_is_read_and_shown() {
        let new = read(&format!(r#"{{"name":" Regulars ","description":"","query":{EVERYTHING}}}"#)).unwrap();
        assert_eq!((new.name.as_str(), new.description.as_str()), ("Regulars", ""));
        let segment = segment::Segment {
            id: SegmentId::from_key(7),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
            name: new.name,
            description: new.description,
            query: new.query,
            created_at: Timestamp::from_millis(1_790_000_000_000),
            updated_at: Timestamp::from_millis(1_790_000_000_000),
        };
        let text = serde_json::to_string_pretty(&shown(&segment)).unwrap();
        crate::message::tests::golden("segment.json", &text);
        // What is shown can be sent again.
        let again = serde_json::to_string(&Written::new(&segment.query)).unwrap();
        assert_eq!(parse_query(&Json::parse(again.as_bytes()).unwrap()).unwrap(), segment.query);
    }

    #[test]
    fn what_is_wrong_is_said_by_its_path() {
        let check = |text: &str, expected: &[(&str, &str, &str)]| {
            let errors = read(text).unwrap_err();
            let found: Vec<_> =
                errors.iter().map(|error| (&*error.field, error.code.as_str(), error.reason)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("{}", &[("name", "INVALID_REQUEST", "missing"), ("query", "INVALID_REQUEST", "missing")]);
        check(r#"{"name":"a","query":"x"}"#, &[("query", "INVALID_REQUEST", "wrong_type")]);
        check(r#"{"name":"a","query":{}}"#, &[("query", "INVALID_QUERY", "no_subject")]);
        check(
            r#"{"name":"a","query":{"all":[{"group":"x"},{"field":"n","above":"1"}]}}"#,
            &[("query.all[1].above", "INVALID_QUERY", "wrong_type")],
        );
        check(
            r#"{"name":"seg_0000000000007","query":{"group":"x"}}"#,
            &[("name", "INVALID_REQUEST", "reserved")],
        );
        let wrong = parse_query(&Json::parse(br#"{"any":[{"grp":1}]}"#).unwrap()).unwrap_err();
        assert_eq!((&*wrong[0].field, wrong[0].reason), ("any[0]", "no_subject"));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let read = |text: &str| parse_change(&Json::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(read("{}"), Change::default());
        assert_eq!(read(r#"{"query":null}"#), Change::default());
        let described = Change { description: Some(String::new()), ..Change::default() };
        assert_eq!(read(r#"{"description":" "}"#), described);
        assert!(read(r#"{"query":{"group":"a"}}"#).query.is_some());
    }
}
