//! Reads JSON bodies strictly, and says by field what is wrong with them.
//!
//! [`Json::parse`] makes one pass with bounds on depth, size and keys; keys may not repeat. A [`Shape`] lists the
//! fields of a body once: reading ([`Shape::read`]) and the published schema ([`Shape::schema`]) both come from it,
//! so they cannot disagree. A field that is not in the list is refused by name, with the name that was probably
//! meant. Values are borrowed from the request where JSON allows it. What a field's text means is not known here.

use crate::error::{Code, FieldError};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use tidings_domain::spelling::nearest;
use tidings_domain::template::Given;
use tidings_domain::text::brief;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

/// Values in one body: a batch of 500 messages with all fields and metadata has some 15,000.
const VALUES_MAX: u32 = 50_000;
/// Keys of one object: more than any body here has, and few enough to look for repeats one by one.
const KEYS_MAX: usize = 64;
/// Arrays and objects inside each other: no body here needs more than five.
const DEPTH_MAX: u8 = 16;

/// Characters of a caller's name that an error repeats: what any name here may have, and too few to fill an answer.
pub(crate) const NAME_SHOWN: usize = 64;

/// A JSON value that borrows from its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`, which counts as absent.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Json<'a>>),
    /// An object, in its order.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The body is not JSON, or not within the bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong, with line and column.
    pub detail: String,
}

impl<'a> Json<'a> {
    /// Reads one JSON value and nothing after it.
    ///
    /// # Errors
    /// [`Malformed`] for what is not JSON, for text after it, for repeated keys, lone surrogates, and for more than
    /// 16 levels or 50,000 values.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let budget = Cell::new(VALUES_MAX);
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = Seed { budget: &budget, depth: 0 }.deserialize(&mut reader);
        read.and_then(|json| reader.end().map(|()| json)).map_err(|error| Malformed {
            // serde_json names the place at the end of its sentence.
            detail: format!("The body is not acceptable JSON: {error}."),
        })
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "a number",
            Self::Number(_) => "a number with a fraction",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Cell<u32>,
    depth: u8,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("more than 16 levels of arrays and objects"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let left =
            self.budget.get().checked_sub(1).ok_or_else(|| D::Error::custom("more than 50000 values"))?;
        self.budget.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut object: Vec<(Cow<'de, str>, Json<'de>)> = Vec::with_capacity(4);
        while let Some(Key(key)) = entries.next_key_seed(Key(Cow::Borrowed("")))? {
            if object.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!(
                    "the key {:?} comes twice",
                    brief(&key, NAME_SHOWN)
                )));
            }
            if object.len() == KEYS_MAX {
                return Err(A::Error::custom("an object with more than 64 keys"));
            }
            object.push((key, entries.next_value_seed(inner)?));
        }
        Ok(Json::Object(object))
    }
}

struct Key<'de>(Cow<'de, str>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Key<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key<'de>, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(Keys)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number between these, both included.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// An object whose values are strings.
    Strings,
    /// An object whose values are strings, numbers, `true`, `false` or null.
    Values,
    /// An array of strings.
    Texts,
    /// A string, a number, `true` or `false`.
    Value,
    /// An array of bodies.
    Bodies(&'static Shape),
    /// An object of this published schema, which is read by whoever takes it.
    Of(&'static str, fn() -> RefOr<Schema>),
}

/// One field of a body, or one parameter of a query.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub about: &'static str,
    /// An example, as JSON.
    pub example: Option<&'static str>,
}

impl Field {
    /// An optional field.
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, required: false, about, example: None }
    }

    /// The same, required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same with an example, as JSON.
    #[must_use]
    pub const fn example(mut self, json: &'static str) -> Self {
        self.example = Some(json);
        self
    }

    /// Its published schema.
    pub fn schema(&self) -> RefOr<Schema> {
        let about = Some(self.about);
        let object = |kind: Type| ObjectBuilder::new().schema_type(SchemaType::new(kind)).description(about);
        let example: Option<serde_json::Value> =
            self.example.map(|json| serde_json::from_str(json).expect("examples are JSON"));
        match self.kind {
            Kind::Text => object(Type::String).examples(example).into(),
            Kind::Word(words) => {
                object(Type::String).enum_values(Some(words.iter().copied())).examples(example).into()
            }
            Kind::Integer(least, most) => object(Type::Integer)
                .minimum(Some(least as f64))
                .maximum(Some(most as f64))
                .examples(example)
                .into(),
            Kind::Boolean => object(Type::Boolean).examples(example).into(),
            Kind::Strings => object(Type::Object)
                .additional_properties(Some(AdditionalProperties::from(
                    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)),
                )))
                .examples(example)
                .into(),
            Kind::Value => {
                ObjectBuilder::new().schema_type(scalar()).description(about).examples(example).into()
            }
            Kind::Values => object(Type::Object)
                .additional_properties(Some(AdditionalProperties::from(
                    ObjectBuilder::new().schema_type(scalar()),
                )))
                .examples(example)
                .into(),
            Kind::Texts => ArrayBuilder::new()
                .items(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)))
                .description(about)
                .examples(example)
                .into(),
            Kind::Of(name, _) => Ref::from_schema_name(name).into(),
            Kind::Bodies(shape) => ArrayBuilder::new()
                .items(Ref::from_schema_name(shape.name))
                .description(about)
                .examples(example)
                .into(),
        }
    }
}

/// A string, a number, `true` or `false`.
fn scalar() -> SchemaType {
    SchemaType::Array(vec![Type::String, Type::Number, Type::Boolean])
}

/// The fields of a body.
#[derive(Debug)]
pub struct Shape {
    /// Its name in the published schema.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

impl Shape {
    /// Its published schema, and those of the bodies inside it.
    pub fn schema(&self, all: &mut Vec<(String, RefOr<Schema>)>) {
        let mut object = ObjectBuilder::new()
            .description(Some(self.about))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        for field in self.fields {
            object = object.property(field.name, field.schema());
            if field.required {
                object = object.required(field.name);
            }
            match field.kind {
                Kind::Bodies(inner) => inner.schema(all),
                Kind::Of(name, schema) => all.push((name.to_owned(), schema())),
                _ => {}
            }
        }
        all.push((self.name.to_owned(), object.into()));
    }

    /// Checks names, presence and types. `place` is where the body stands in the request (empty for the whole).
    /// Everything that is wrong is added to `errors`; the fields that are right can be read all the same.
    pub fn read<'j, 'a>(
        &'static self,
        json: &'j Json<'a>,
        place: &str,
        errors: &mut Vec<FieldError>,
    ) -> Fields<'j, 'a> {
        let before = errors.len();
        let entries: &[(Cow<'a, str>, Json<'a>)] = match json {
            Json::Object(entries) => entries,
            other => {
                errors.push(
                    FieldError::new(
                        "",
                        Code::InvalidRequest,
                        "wrong_type",
                        format_args!("This must be an object, not {}.", other.kind()),
                    )
                    .within(place),
                );
                return Fields { shape: self, entries: &[] };
            }
        };
        for (name, value) in entries {
            match self.fields.iter().find(|field| field.name == name) {
                None => errors.push(self.unknown(name)),
                Some(field) => check(field, value, errors),
            }
        }
        for field in self.fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|(name, value)| name == field.name && *value != Json::Null) {
                errors.push(FieldError::new(
                    field.name,
                    Code::InvalidRequest,
                    "missing",
                    format_args!("`{}` is missing.", field.name),
                ));
            }
        }
        if !place.is_empty() && errors.len() > before {
            for error in errors.drain(before..).collect::<Vec<_>>() {
                errors.push(error.within(place));
            }
        }
        Fields { shape: self, entries }
    }

    fn unknown(&self, name: &str) -> FieldError {
        let known = self.fields.iter().map(|field| field.name);
        let detail = match nearest(name, known) {
            Some(near) => {
                format!("There is no field {:?} here; did you mean `{near}`?", brief(name, NAME_SHOWN))
            }
            None => format!("There is no field {:?} here.", brief(name, NAME_SHOWN)),
        };
        FieldError::new(brief(name, NAME_SHOWN).to_owned(), Code::InvalidRequest, "unknown_field", detail)
    }
}

fn check(field: &Field, value: &Json<'_>, errors: &mut Vec<FieldError>) {
    let (fits, wanted) = match (field.kind, value) {
        (_, Json::Null) => return,
        (Kind::Text, value) => (matches!(value, Json::Text(_)), "a string"),
        (Kind::Boolean, value) => (matches!(value, Json::Boolean(_)), "true or false"),
        (Kind::Bodies(_), value) => (matches!(value, Json::List(_)), "an array of objects"),
        (Kind::Of(..), value) => (matches!(value, Json::Object(_)), "an object"),
        (Kind::Texts, Json::List(items)) => {
            (items.iter().all(|item| matches!(item, Json::Text(_))), "an array of strings")
        }
        (Kind::Texts, _) => (false, "an array of strings"),
        (Kind::Strings, Json::Object(entries)) => {
            for (name, item) in entries.iter().filter(|(_, item)| !matches!(item, Json::Text(_))) {
                let path = format!("{}.{}", field.name, brief(name, NAME_SHOWN));
                let detail = format!("`{path}` must be a string, not {}.", item.kind());
                errors.push(FieldError::new(path, Code::InvalidRequest, "wrong_type", detail));
            }
            return;
        }
        (Kind::Strings, _) => (false, "an object whose values are strings"),
        (Kind::Values, Json::Object(entries)) => {
            let is_wrong = |item: &Json<'_>| matches!(item, Json::List(_) | Json::Object(_));
            for (name, item) in entries.iter().filter(|(_, item)| is_wrong(item)) {
                let path = format!("{}.{}", field.name, brief(name, NAME_SHOWN));
                let detail =
                    format!("`{path}` must be a string, a number, true, false or null, not {}.", item.kind());
                errors.push(FieldError::new(path, Code::InvalidRequest, "wrong_type", detail));
            }
            return;
        }
        (Kind::Values, _) => (false, "an object of values"),
        (Kind::Value, value) => (given(value).is_some(), "a string, a number, true or false"),
        (Kind::Integer(least, most), Json::Integer(value)) => {
            if !(least..=most).contains(value) {
                let detail = format!("`{}` must be from {least} to {most}.", field.name);
                errors.push(FieldError::new(field.name, Code::InvalidRequest, "out_of_range", detail));
            }
            return;
        }
        (Kind::Integer(..), _) => (false, "a whole number"),
        (Kind::Word(words), Json::Text(text)) => {
            if !words.contains(&text.as_ref()) {
                let near = nearest(text, words.iter().copied());
                let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let detail = format!("`{}` must be one of: {}.{near}", field.name, words.join(", "));
                errors.push(FieldError::new(field.name, Code::InvalidRequest, "unknown_word", detail));
            }
            return;
        }
        (Kind::Word(_), _) => (false, "a string"),
    };
    if !fits {
        errors.push(FieldError::new(
            field.name,
            Code::InvalidRequest,
            "wrong_type",
            format_args!("`{}` must be {wanted}, not {}.", field.name, value.kind()),
        ));
    }
}

/// A value of a template, as it was given.
fn given<'j>(value: &'j Json<'_>) -> Option<Given<'j>> {
    match value {
        Json::Text(text) => Some(Given::Text(text)),
        Json::Integer(number) => Some(Given::Integer(*number)),
        Json::Number(number) => Some(Given::Number(*number)),
        Json::Boolean(yes) => Some(Given::Boolean(*yes)),
        Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// The fields of one body, by name. A field that was wrong reads as absent.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'j, 'a> {
    shape: &'static Shape,
    entries: &'j [(Cow<'a, str>, Json<'a>)],
}

impl<'j, 'a> Fields<'j, 'a> {
    fn get(&self, name: &str) -> Option<&'j Json<'a>> {
        debug_assert!(self.shape.fields.iter().any(|field| field.name == name), "{name} is not in the shape");
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether the field is there, be it right or wrong.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Json::Null)
    }

    /// Whatever was written there, but null.
    pub fn json(&self, name: &str) -> Option<&'j Json<'a>> {
        self.get(name).filter(|value| **value != Json::Null)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<&'j str> {
        match self.get(name)? {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Json::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A boolean.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Json::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// An array.
    pub fn list(&self, name: &str) -> Option<&'j [Json<'a>]> {
        match self.get(name)? {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// An array of strings.
    pub fn texts(&self, name: &str) -> Option<impl Iterator<Item = &'j str>> {
        Some(self.list(name)?.iter().filter_map(|item| match item {
            Json::Text(text) => Some(text.as_ref()),
            _ => None,
        }))
    }

    /// A string, a number, `true` or `false`.
    pub fn value(&self, name: &str) -> Option<Given<'j>> {
        given(self.get(name)?)
    }

    /// An object of these; one that is null is left out.
    pub fn values(&self, name: &str) -> Option<impl Iterator<Item = (&'j str, Given<'j>)>> {
        match self.get(name)? {
            Json::Object(entries) => {
                Some(entries.iter().filter_map(|(key, value)| Some((key.as_ref(), given(value)?))))
            }
            _ => None,
        }
    }

    /// An object of strings.
    pub fn strings(&self, name: &str) -> Option<impl Iterator<Item = (&'j str, &'j str)> + Clone> {
        match self.get(name)? {
            Json::Object(entries) => Some(entries.iter().filter_map(|(key, value)| match value {
                Json::Text(text) => Some((key.as_ref(), text.as_ref())),
                _ => None,
            })),
            _ => None,
        }
    }
}

impl<'j, 'a> Fields<'j, 'a> {
    /// An object of these, null among them, as it was written.
    pub fn object(&self, name: &str) -> Option<&'j [(Cow<'a, str>, Json<'a>)]> {
        match self.get(name)? {
            Json::Object(entries) => Some(entries),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Shape =
        Shape { name: "Inner", about: "", fields: &[Field::new("to", Kind::Text, "").required()] };
    const OUTER: Shape = Shape {
        name: "Outer",
        about: "",
        fields: &[
            Field::new("message", Kind::Text, "").required(),
            Field::new("purpose", Kind::Word(&["alert", "marketing"]), ""),
            Field::new("expires_in_s", Kind::Integer(1, 9), ""),
            Field::new("transliterate", Kind::Boolean, ""),
            Field::new("metadata", Kind::Strings, ""),
            Field::new("values", Kind::Values, ""),
            Field::new("events", Kind::Texts, ""),
            Field::new("items", Kind::Bodies(&INNER), ""),
        ],
    };

    fn wrong(body: &str) -> String {
        static SHAPE: Shape = OUTER;
        let json = match Json::parse(body.as_bytes()) {
            Ok(json) => json,
            Err(malformed) => return malformed.detail,
        };
        let mut errors = Vec::new();
        SHAPE.read(&json, "", &mut errors);
        errors.iter().map(|e| format!("{}:{}", e.field, e.reason)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        for (body, expected) in [
            (r#"{"message":"a"}"#, ""),
            (r#"{"message":"a","purpose":null,"metadata":{"a":"b"},"events":["x"],"expires_in_s":9}"#, ""),
            ("{}", "message:missing"),
            (r#"{"message":null}"#, "message:missing"),
            (r#"{"mesage":"a"}"#, "mesage:unknown_field message:missing"),
            (r#"{"message":1}"#, "message:wrong_type"),
            (r#"{"message":"","purpose":"alrt"}"#, "purpose:unknown_word"),
            (
                r#"{"message":"","purpose":1,"transliterate":"yes"}"#,
                "purpose:wrong_type transliterate:wrong_type",
            ),
            (r#"{"message":"","expires_in_s":10}"#, "expires_in_s:out_of_range"),
            (r#"{"message":"","expires_in_s":1.5}"#, "expires_in_s:wrong_type"),
            (r#"{"message":"","expires_in_s":18446744073709551615}"#, "expires_in_s:wrong_type"),
            (r#"{"message":"","metadata":{"a":1}}"#, "metadata.a:wrong_type"),
            (
                r#"{"message":"","values":{"a":[],"b.c":{},"d":1,"e":null}}"#,
                "values.a:wrong_type values.b.c:wrong_type",
            ),
            (r#"{"message":"","events":["a",{}],"items":{}}"#, "events:wrong_type items:wrong_type"),
            ("[]", ":wrong_type"),
            ("null", ":wrong_type"),
        ] {
            assert_eq!(wrong(body), expected, "{body}");
        }
    }

    #[test]
    fn a_long_name_does_not_fill_an_answer() {
        static SHAPE: Shape = OUTER;
        let name = "é".repeat(5_000);
        for body in [
            format!(r#"{{"{name}":1}}"#),
            format!(r#"{{"values":{{"{name}":[]}}}}"#),
            format!(r#"{{"metadata":{{"{name}":1}}}}"#),
        ] {
            let mut errors = Vec::new();
            SHAPE.read(&Json::parse(body.as_bytes()).unwrap(), "", &mut errors);
            assert!(errors.iter().all(|e| e.field.len() < 200 && e.detail.len() < 300), "{errors:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let deep = "[".repeat(100_000);
        let many = format!("[{}]", "0,".repeat(60_000) + "0");
        let keys = format!("{{{}}}", (0..70).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        for body in [
            "",
            "{",
            r#"{"a":1"#,
            r#"{"a":1}{}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            "{\"a\":\"\n\"}",
            "{'a':1}",
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":NaN}"#,
            "\u{feff}{}",
            &deep,
            &many,
            &keys,
            "{\"a\":1e999}",
        ] {
            let malformed = Json::parse(body.as_bytes()).unwrap_err();
            assert!(
                malformed.detail.contains(" line ") && malformed.detail.len() < 300,
                "{}",
                malformed.detail
            );
        }
        assert!(Json::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn texts_are_borrowed_unless_they_are_escaped() {
        let Ok(Json::Object(entries)) = Json::parse(br#"{"a":"plain","b":"\u00e9"}"#) else { panic!() };
        assert!(matches!(entries[0].1, Json::Text(Cow::Borrowed("plain"))));
        assert_eq!(entries[1].1, Json::Text("é".into()));
    }

    #[test]
    fn an_error_in_an_item_names_the_item() {
        static SHAPE: Shape = INNER;
        let mut errors = Vec::new();
        SHAPE.read(&Json::parse(br#"{"tu":1}"#).unwrap(), "items[3]", &mut errors);
        assert_eq!(errors[0].field, "items[3].tu");
        assert_eq!(errors[1].field, "items[3].to");
    }
}
