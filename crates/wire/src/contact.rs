//! Contacts: adding, changing, showing.

use crate::body::{Field, Fields, Json, Kind, NAME_SHOWN, Shape};
use crate::error::{Code, FieldError};
use crate::message::Door;
use crate::show::Shown;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use tidings_domain::address::PhoneNumber;
use tidings_domain::contact::{
    self, Change, Decimal, Details, Excess, FIELDS_MAX, FieldName, GROUPS_MAX, Group, Invalid, Language,
    NUMBERS_MAX, Value, ZoneName,
};
use tidings_domain::id::ContactId;
use tidings_domain::text::brief;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

const NUMBERS: Field = Field::new(
    "numbers",
    Kind::Texts,
    "1 to 8 phone numbers, the usual one first. A number is of one contact at most.",
)
.example("[\"+15550002222\"]");
const NAME: Field = Field::new("name", Kind::Text, "The name, as it is shown: at most 200 characters.");
const LANGUAGE: Field = Field::new("language", Kind::Text, "The language (BCP 47), such as `sv` or `en-GB`.")
    .example("\"en-GB\"");
const TIME_ZONE: Field = Field::new(
    "time_zone",
    Kind::Text,
    "The time zone, as the IANA database calls it. Without it, the number says where the person may be.",
)
.example("\"Europe/Stockholm\"");
const OWNER: Field =
    Field::new("owner", Kind::Text, "Who of yours looks after the person: at most 100 characters.");
const GROUPS: Field = Field::new(
    "groups",
    Kind::Texts,
    "The names of the groups that it is in: at most 50, of 60 characters, without `;` and `|`.",
)
.example("[\"spring\"]");
const FIELDS: Field = Field::new(
    "fields",
    Kind::Values,
    "Your own fields, at most 50: names of lower-case letters and digits, with single `_` between them; values are text (at most 1000 characters), \
     numbers, true or false, and dates as `2026-11-29`.",
)
.example("{\"plan\":\"pro\",\"visits\":3,\"born\":\"1990-01-31\"}");

/// The body of `POST /v1/contacts`.
pub static NEW_CONTACT: Shape = Shape {
    name: "NewContact",
    about: "A person, with the numbers that they can be reached at.",
    fields: &[Field { required: true, ..NUMBERS }, NAME, LANGUAGE, TIME_ZONE, OWNER, GROUPS, FIELDS],
};

/// The body of `PATCH /v1/contacts/{id}`.
pub static CONTACT_CHANGE: Shape = Shape {
    name: "ContactChange",
    about: "What changes. What is not named stays; an empty text removes what was there; `numbers` and `groups` replace all; of \
            `fields` those that are named are set, or removed by null.",
    fields: &[NUMBERS, NAME, LANGUAGE, TIME_ZONE, OWNER, GROUPS, FIELDS],
};

/// What to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The numbers.
    pub numbers: Vec<PhoneNumber>,
    /// The rest.
    pub details: Details,
}

/// Parses the body of `POST /v1/contacts`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>, door: Door) -> Result<Added, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_CONTACT.read(json, "", &mut errors);
    let Change { numbers, name, language, zone, owner, groups, fields } = read(fields, door, &mut errors);
    let details = Details {
        name: name.flatten(),
        language: language.flatten(),
        zone: zone.flatten(),
        owner: owner.flatten(),
        groups: groups.unwrap_or_default(),
        fields: fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
    };
    match numbers {
        Some(numbers) if errors.is_empty() => Ok(Added { numbers, details }),
        _ => Err(errors),
    }
}

/// Parses the body of `PATCH /v1/contacts/{id}`.
///
/// # Errors
/// Everything that is wrong with it, field by field; nothing is to be changed then.
pub fn parse_change(json: &Json<'_>, door: Door) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = CONTACT_CHANGE.read(json, "", &mut errors);
    let change = read(fields, door, &mut errors);
    if errors.is_empty() { Ok(change) } else { Err(errors) }
}

fn read(fields: Fields<'_, '_>, door: Door, errors: &mut Vec<FieldError>) -> Change {
    Change {
        numbers: numbers(fields, door, errors),
        name: text(fields, "name", errors, |text| contact::line(text, contact::NAME_MAX)),
        language: text(fields, "language", errors, Language::parse),
        zone: text(fields, "time_zone", errors, ZoneName::parse),
        owner: text(fields, "owner", errors, |text| contact::line(text, contact::OWNER_MAX)),
        groups: groups(fields, errors),
        fields: values(fields, errors),
    }
}

fn wrong(place: String, why: Invalid) -> FieldError {
    let detail = format!("`{place}`: {why}");
    FieldError { field: place.into(), ..FieldError::new("", Code::InvalidRequest, why.code(), detail) }
}

fn numbers(fields: Fields<'_, '_>, door: Door, errors: &mut Vec<FieldError>) -> Option<Vec<PhoneNumber>> {
    let mut found: Vec<PhoneNumber> = Vec::new();
    for (n, text) in fields.texts("numbers")?.enumerate() {
        match door.recipient("numbers", text) {
            Ok(number) if found.contains(&number) => {}
            Ok(number) => found.push(number),
            Err(error) => errors.push(FieldError { field: format!("numbers[{n}]").into(), ..error }),
        }
    }
    if !(1..=NUMBERS_MAX).contains(&found.len()) && errors.is_empty() {
        let detail = format!("`numbers` must have 1 to {NUMBERS_MAX} entries.");
        errors.push(FieldError::new("numbers", Code::LimitExceeded, "count", detail));
    }
    Some(found)
}

/// A text of one meaning; an empty one says that there is none.
fn text<T>(
    fields: Fields<'_, '_>,
    name: &'static str,
    errors: &mut Vec<FieldError>,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Option<Option<T>> {
    match parse(fields.text(name)?) {
        Ok(value) => Some(Some(value)),
        Err(Invalid::Empty) => Some(None),
        Err(why) => {
            errors.push(wrong(name.to_owned(), why));
            None
        }
    }
}

fn groups(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<BTreeSet<Group>> {
    let mut found = BTreeSet::new();
    for (n, text) in fields.texts("groups")?.enumerate() {
        match Group::parse(text) {
            Ok(group) => {
                found.insert(group);
            }
            Err(why) => errors.push(wrong(format!("groups[{n}]"), why)),
        }
    }
    if found.len() > GROUPS_MAX {
        errors.push(excess(Excess::Groups));
    }
    Some(found)
}

fn values(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> BTreeMap<FieldName, Option<Value>> {
    let mut found = BTreeMap::new();
    for (name, json) in fields.object("fields").into_iter().flatten() {
        let value = match json {
            Json::Null => Ok(None),
            Json::Boolean(yes) => Ok(Some(Value::YesNo(*yes))),
            Json::Integer(number) => {
                Decimal::parse(&number.to_string()).map(|number| Some(Value::Number(number)))
            }
            Json::Number(number) => {
                Decimal::parse(&number.to_string()).map(|number| Some(Value::Number(number)))
            }
            Json::Text(text) => match Value::text(text) {
                Err(Invalid::Empty) => Ok(None),
                other => other.map(Some),
            },
            // Said already.
            Json::List(_) | Json::Object(_) => continue,
        };
        match (FieldName::parse(name), value) {
            (Ok(name), Ok(value)) => {
                found.insert(name, value);
            }
            (Err(why), _) | (_, Err(why)) => {
                errors.push(wrong(format!("fields.{}", brief(name, NAME_SHOWN)), why))
            }
        }
    }
    if found.values().filter(|value| value.is_some()).count() > FIELDS_MAX {
        errors.push(excess(Excess::Fields));
    }
    found
}

/// What is said of a contact that would have too much.
pub fn excess(excess: Excess) -> FieldError {
    let (field, most) = match excess {
        Excess::Fields => ("fields", FIELDS_MAX),
        Excess::Groups => ("groups", GROUPS_MAX),
    };
    let detail = format!("A contact has at most {most} {field}.");
    FieldError::new(field, Code::LimitExceeded, "count", detail)
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub struct Contact<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Shown<ContactId>,
    /// The phone numbers, the usual one first.
    #[schema(value_type = Vec<String>)]
    pub numbers: Vec<Shown<PhoneNumber>>,
    /// The name.
    pub name: Option<&'a str>,
    /// The language.
    pub language: Option<&'a str>,
    /// Where the clock of the person is.
    pub time_zone: Option<TimeZone>,
    /// Who looks after the person.
    pub owner: Option<&'a str>,
    /// The groups that it is in.
    pub groups: Vec<&'a str>,
    /// Your own fields.
    #[schema(value_type = Object)]
    pub fields: BTreeMap<&'a str, ShownValue<'a>>,
    /// Since when.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// When it was last changed.
    #[schema(value_type = String)]
    pub updated_at: Shown<Timestamp>,
}

/// Where the clock of a person is.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeZone {
    /// The zones that it may be in, as the IANA database calls them.
    pub names: Vec<String>,
    /// Who says so: `stated`, or `number` for the area code or country of the first number.
    pub source: &'static str,
    /// How far it can be relied on: `high` if it was stated, `medium` if the number's place has one zone, `low` if it has
    /// several.
    pub confidence: &'static str,
}

/// A value as JSON has it.
#[derive(Debug)]
pub struct ShownValue<'a>(&'a Value);

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Date(date) => serializer.collect_str(date),
            Value::YesNo(yes) => serializer.serialize_bool(*yes),
            Value::Number(number) => {
                let text = number.to_string();
                match (text.parse::<i64>(), text.parse::<f64>()) {
                    (Ok(whole), _) => serializer.serialize_i64(whole),
                    (_, Ok(number)) => serializer.serialize_f64(number),
                    _ => serializer.serialize_str(&text),
                }
            }
        }
    }
}

/// Shows a contact.
pub fn shown(contact: &contact::Contact) -> Contact<'_> {
    let details = &contact.details;
    Contact {
        id: Shown(contact.id),
        numbers: contact.numbers.iter().copied().map(Shown).collect(),
        name: details.name.as_deref(),
        language: details.language.as_ref().map(Language::as_str),
        time_zone: contact.zone().map(|zone| TimeZone {
            names: zone.names,
            source: zone.source.as_str(),
            confidence: zone.confidence.as_str(),
        }),
        owner: details.owner.as_deref(),
        groups: details.groups.iter().map(Group::as_str).collect(),
        fields: details.fields.iter().map(|(name, value)| (name.as_str(), ShownValue(value))).collect(),
        created_at: Shown(contact.created_at),
        updated_at: Shown(contact.updated_at),
    }
}

/// A group that somebody is in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ContactGroup)]
pub struct ContactGroup {
    /// Its name.
    pub name: String,
    /// How many contacts are in it.
    pub contacts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::id::AccountId;

    const DOOR: Door = Door { environment: Environment::Test, default_country: None };

    fn added(text: &str) -> Result<Added, Vec<FieldError>> {
        parse(&Json::parse(text.as_bytes()).unwrap(), DOOR)
    }

    #[test]
    fn a_contact_is_read_and_shown() {
        let read = added(
            r#"{"numbers":["+1 555 000 2222","+15550002222","+15550003333"],"name":" Åsa ","language":"sv_se",
                "time_zone":"europe/stockholm","owner":"","groups":["new","gold"],
                "fields":{"plan":"pro","visits":3,"rate":-12.5,"vip":true,"born":"1990-01-31","gone":null}}"#,
        )
        .unwrap();
        assert_eq!((read.numbers.len(), read.details.fields.len(), read.details.owner.clone()), (2, 5, None));
        let contact = contact::Contact {
            id: ContactId::from_key(7),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
            numbers: read.numbers,
            details: read.details,
            created_at: Timestamp::from_millis(1_790_000_000_000),
            updated_at: Timestamp::from_millis(1_790_000_000_000),
        };
        crate::message::tests::golden(
            "contact.json",
            &serde_json::to_string_pretty(&shown(&contact)).unwrap(),
        );
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let errors = added(text).unwrap_err();
            let found: Vec<_> = errors.iter().map(|error| (&*error.field, error.reason)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("{}", &[("numbers", "missing")]);
        check(r#"{"numbers":[]}"#, &[("numbers", "count")]);
        check(r#"{"numbers":["+15550002222","x"]}"#, &[("numbers[1]", "letters")]);
        let one = |more: &str| format!(r#"{{"numbers":["+15550002222"],{more}}}"#);
        check(&one(r#""time_zone":"Lund""#), &[("time_zone", "no_time_zone")]);
        check(&one(r#""language":"swedish""#), &[("language", "no_language")]);
        check(&one(r#""groups":["a;b"]"#), &[("groups[0]", "unexpected_character")]);
        check(&one(r#""fields":{"Plan":"x"}"#), &[("fields.Plan", "unexpected_character")]);
        check(&one(r#""fields":{"n_":"x"}"#), &[("fields.n_", "underscores")]);
        check(&one(r#""fields":{"refused_why":"x"}"#), &[("fields.refused_why", "reserved")]);
        check(&one(r#""fields":{"n":1e15}"#), &[("fields.n", "no_number")]);
        check(&one(r#""fields":{"n":[]}"#), &[("fields.n", "wrong_type")]);
        check(&one(r#""fields":[]"#), &[("fields", "wrong_type")]);
        check(&one(r#""nmae":"x""#), &[("nmae", "unknown_field")]);
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let read = |text: &str| parse_change(&Json::parse(text.as_bytes()).unwrap(), DOOR).unwrap();
        assert_eq!(read("{}"), Change::default());
        assert_eq!(read(r#"{"name":null}"#), Change::default());
        assert_eq!(read(r#"{"name":""}"#), Change { name: Some(None), ..Change::default() });
        assert_eq!(read(r#"{"groups":[]}"#), Change { groups: Some(BTreeSet::new()), ..Change::default() });
        let removed = read(r#"{"fields":{"plan":null}}"#).fields;
        assert_eq!(removed.values().collect::<Vec<_>>(), [&None]);
    }
}
