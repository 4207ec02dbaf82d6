//! Templates: making one, a new version of it, looking at what it would say and cost, and sending with it.

use crate::body::{Field, Fields, Json, Kind, NAME_SHOWN, Shape};
use crate::error::{Code, FieldError};
use crate::message::bounded;
use crate::show::Shown;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_domain::contact::{Contact, Group};
use tidings_domain::id::TemplateId;
use tidings_domain::template::{
    self, Content, Failure, Filled, Given, Kind as Typed, Language, Origin, Outlook, Value, Variable,
};
use tidings_domain::text::{self, Encoding, Measured, brief};
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// Characters of what a template is for.
const DESCRIPTION_MAX: usize = 200;

/// One variable of a template.
pub static VARIABLE: Shape = Shape {
    name: "NewVariable",
    about: "A value that a template is filled with.",
    fields: &[
        Field::new("name", Kind::Text, "Its name in the texts: small letters, digits and `_`.")
            .required()
            .example("\"name\""),
        Field::new(
            "type",
            Kind::Word(Typed::WORDS),
            "`text`; `number`, a whole one; `amount`, a number with two decimals; `date`, such as `2026-12-24` or \
             `2026-12-24T15:30`; `yes_no`, true or false.",
        )
        .required()
        .example("\"text\""),
        Field::new("sample", Kind::Value, "What usually stands there.").required().example("\"Ana\""),
        Field::new("max_length", Kind::Integer(1, 1_000), "Of a `text`: its most characters; 100 if not given."),
        Field::new(
            "gsm_only",
            Kind::Boolean,
            "Of a `text`: whether it may only have characters of the GSM alphabet, so that it never makes a message dearer.",
        ),
        Field::new(
            "may_be_empty",
            Kind::Boolean,
            "Of a `text`: whether it may be empty. Otherwise an empty one stops the message.",
        ),
        Field::new(
            "min",
            Kind::Integer(-template::NUMBER_MAX, template::NUMBER_MAX),
            "Of a `number` or `amount`: the smallest; 0 if not given.",
        ),
        Field::new(
            "max",
            Kind::Integer(-template::NUMBER_MAX, template::NUMBER_MAX),
            "Of a `number` or `amount`: the largest; 1000000 if not given.",
        ),
    ],
};

const LANGUAGE: Field = Field::new(
    "language",
    Kind::Text,
    "The language of who asks for none or for one that there is not, such as `en`; `en` if not given.",
)
.example("\"en\"");
const TEXTS: Field = Field::new(
    "texts",
    Kind::Strings,
    "The text in each language, with places such as `{{ name }}`; see the guide about templates.",
)
.required()
.example(r#"{"en":"Hi {{ name }}, your table is ready."}"#);
const VARIABLES: Field =
    Field::new("variables", Kind::Bodies(&VARIABLE), "What the texts are filled with, at most 30.");

/// The body of `POST /v1/templates`.
pub static NEW_TEMPLATE: Shape = Shape {
    name: "NewTemplate",
    about: "A template: texts in several languages, filled from typed values. A version never changes.",
    fields: &[
        Field::new(
            "name",
            Kind::Text,
            "What messages name it by: 1 to 64 small letters, digits, and `.`, `_`, `-` inside.",
        )
        .required()
        .example("\"table-ready\""),
        Field::new("description", Kind::Text, "What it is for, at most 200 characters."),
        LANGUAGE,
        TEXTS,
        VARIABLES,
    ],
};

/// The body of `POST /v1/templates/{id}/versions`.
pub static NEW_VERSION: Shape = Shape {
    name: "NewTemplateVersion",
    about: "What a template says from now on. Messages that name another version still get that.",
    fields: &[LANGUAGE, TEXTS, VARIABLES],
};

pub(crate) const TEMPLATE: Field = Field::new(
    "template",
    Kind::Text,
    "A template, by its name or id, of which the text is made; instead of `message`.",
)
.example("\"table-ready\"");
pub(crate) const VERSION: Field = Field::new(
    "version",
    Kind::Integer(1, 1_000_000),
    "Which version of the template; the newest if not given.",
);
pub(crate) const WANTED_LANGUAGE: Field = Field::new(
    "language",
    Kind::Text,
    "In which language the template's text is wanted, such as `de-AT`; if there is no such text, in a wider one (`de`), or \
     in the template's own.",
);
pub(crate) const VALUES: Field = Field::new(
    "values",
    Kind::Values,
    "What the template is filled with, by name. One that is missing stops the message.",
)
.example(r#"{"name":"Ana"}"#);

/// The body of `POST /v1/templates/{id}/preview`.
pub static PREVIEW: Shape = Shape {
    name: "PreviewTemplate",
    about: "Values to look at a template with. Without any, only the usual and the worst text are shown. With a group or a segment \
            its contacts give the values that are not given: `name`, and their fields by name.",
    fields: &[VERSION, WANTED_LANGUAGE, VALUES, GROUP, SEGMENT],
};

const GROUP: Field = Field::new(
    "group",
    Kind::Text,
    "A group of contacts, of whom some hundreds are looked at for what their messages would cost. Needs `contacts.read`.",
)
.example("\"customers\"");
const SEGMENT: Field = Field::new(
    "segment",
    Kind::Text,
    "A segment by its name or id, in place of a group. Needs `segments.read`.",
)
.example("\"lapsed\"");

/// A template to make.
#[derive(Debug, Clone, PartialEq)]
pub struct New {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it says.
    pub content: Content,
}

/// Parses the body of `POST /v1/templates`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse(json: &Json<'_>) -> Result<New, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_TEMPLATE.read(json, "", &mut errors);
    let name = fields.text("name").unwrap_or_default();
    if fields.text("name").is_some() && !template::is_name(name) {
        let detail = "A template is named by 1 to 64 small letters, digits, and `.`, `_`, `-` inside, and not as ids are.";
        errors.push(FieldError::new("name", Code::InvalidRequest, "name", detail));
    }
    let description = bounded(fields, "description", DESCRIPTION_MAX, &mut errors).unwrap_or_default();
    let content = content(fields, errors)?;
    Ok(New { name: name.to_owned(), description, content })
}

/// Parses the body of `POST /v1/templates/{id}/versions`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_version(json: &Json<'_>) -> Result<Content, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = NEW_VERSION.read(json, "", &mut errors);
    content(fields, errors)
}

fn content(fields: Fields<'_, '_>, mut errors: Vec<FieldError>) -> Result<Content, Vec<FieldError>> {
    let default = language(fields, &mut errors);
    let mut texts = BTreeMap::new();
    for (tag, text) in fields.strings("texts").into_iter().flatten() {
        match Language::parse(tag) {
            Some(language) if !texts.contains_key(&language) => {
                texts.insert(language, text.to_owned());
            }
            Some(_) => {
                let detail = "This language comes twice: upper and lower case are the same.";
                errors.push(FieldError::new("texts", Code::InvalidRequest, "duplicate", detail));
            }
            None => errors.push(no_language("texts")),
        }
    }
    let mut variables = Vec::new();
    for (place, one) in fields.list("variables").unwrap_or_default().iter().enumerate() {
        variables.extend(variable(one, &format!("variables[{place}]"), &mut errors));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let default = default.unwrap_or_else(|| Language::parse("en").expect("it is one"));
    let content = Content { language: default, texts, variables };
    let flaws = content.check();
    if flaws.is_empty() {
        return Ok(content);
    }
    let error =
        |flaw: template::Flaw| FieldError::new(flaw.place, Code::InvalidRequest, flaw.code, flaw.detail);
    Err(flaws.into_iter().map(error).collect())
}

fn no_language(field: &'static str) -> FieldError {
    let detail = format!("`{field}` must name languages such as `en` or `pt-BR`.");
    FieldError::new(field, Code::InvalidRequest, "language", detail)
}

fn language(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<Language> {
    let text = fields.text("language")?;
    let read = Language::parse(text);
    if read.is_none() {
        errors.push(no_language("language"));
    }
    read
}

fn variable(json: &Json<'_>, place: &str, errors: &mut Vec<FieldError>) -> Option<Variable> {
    let before = errors.len();
    let fields = VARIABLE.read(json, place, errors);
    let (word, sample) = (fields.text("type").unwrap_or_default(), fields.value("sample"));
    let (is_text, is_number) = (word == "text", matches!(word, "number" | "amount"));
    for (name, fits) in [
        ("max_length", is_text),
        ("gsm_only", is_text),
        ("may_be_empty", is_text),
        ("min", is_number),
        ("max", is_number),
    ] {
        if !fits && fields.has(name) && Typed::WORDS.contains(&word) {
            let detail = format!("A `{word}` has no `{name}`.");
            errors.push(FieldError::new(name, Code::InvalidRequest, "misplaced", detail).within(place));
        }
    }
    if errors.len() > before {
        return None;
    }
    let (least, most) = (fields.integer("min").unwrap_or(0), fields.integer("max").unwrap_or(1_000_000));
    let kind = match word {
        "text" => Typed::Text {
            most: fields
                .integer("max_length")
                .and_then(|most| u16::try_from(most).ok())
                .unwrap_or(template::TEXT_VALUE_DEFAULT),
            any_alphabet: !fields.boolean("gsm_only").unwrap_or(false),
            may_be_empty: fields.boolean("may_be_empty").unwrap_or(false),
        },
        "number" => Typed::Number { least, most },
        "amount" => Typed::Amount { least, most },
        "date" => Typed::Date,
        _ => Typed::YesNo,
    };
    match kind.read(sample?) {
        Ok(sample) => Some(Variable { name: fields.text("name")?.to_owned(), kind, sample }),
        Err(why) => {
            let detail = format!("The sample {why}.");
            errors.push(FieldError::new("sample", Code::InvalidRequest, why.code(), detail).within(place));
            None
        }
    }
}

/// Of which template a text is to be made, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// The template's name or id, as given.
    pub template: String,
    /// Which version; `None` for the newest.
    pub version: Option<u32>,
    /// Which language is wanted.
    pub language: Option<Language>,
    /// The values, by name.
    pub values: Vec<(String, Owned)>,
}

/// A value that was given, kept until its template is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Owned {
    /// Characters.
    Text(String),
    /// Anything else.
    Other(Given<'static>),
}

impl Owned {
    fn of(given: Given<'_>) -> Self {
        match given {
            Given::Text(text) => Self::Text(text.to_owned()),
            Given::Integer(number) => Self::Other(Given::Integer(number)),
            Given::Number(number) => Self::Other(Given::Number(number)),
            Given::Boolean(yes) => Self::Other(Given::Boolean(yes)),
        }
    }

    fn given(&self) -> Given<'_> {
        match self {
            Self::Text(text) => Given::Text(text),
            Self::Other(given) => *given,
        }
    }
}

impl Filling {
    /// Reads what a body says of a template, if it names one.
    pub(crate) fn read(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Option<Self> {
        let Some(template) = fields.text("template") else {
            if !fields.has("template") {
                for name in ["version", "language", "values"].into_iter().filter(|name| fields.has(name)) {
                    let detail = format!("`{name}` belongs to a `template`, and none is named.");
                    errors.push(FieldError::new(name, Code::InvalidRequest, "misplaced", detail));
                }
            }
            return None;
        };
        Some(Self { template: template.to_owned(), ..Self::of_known(fields, errors) })
    }

    fn of_known(fields: Fields<'_, '_>, errors: &mut Vec<FieldError>) -> Self {
        Self {
            template: String::new(),
            version: fields.integer("version").and_then(|number| u32::try_from(number).ok()),
            language: language(fields, errors),
            values: fields
                .values("values")
                .into_iter()
                .flatten()
                .map(|(name, given)| (name.to_owned(), Owned::of(given)))
                .collect(),
        }
    }

    /// The text made of it.
    ///
    /// # Errors
    /// Every value that is missing or wrong, by name.
    pub fn fill(&self, content: &Content) -> Result<Filled, Vec<FieldError>> {
        let values: Vec<_> = self.values.iter().map(|(name, value)| (name.as_str(), value.given())).collect();
        let failed = |failures: Vec<Failure>| -> Vec<FieldError> {
            failures.into_iter().map(FieldError::unfilled).collect()
        };
        content.fill(self.language.as_ref(), &values).map_err(failed)
    }

    /// What the messages to these contacts would cost, with these values for all of them.
    ///
    /// # Errors
    /// Every one of the values that is wrong, by name.
    pub fn costs(&self, content: &Content, contacts: &[Contact]) -> Result<TemplateCosts, Vec<FieldError>> {
        let values: Vec<_> = self.values.iter().map(|(name, value)| (name.as_str(), value.given())).collect();
        let is_given = |failure: &Failure| {
            let variable = failure.variable.as_deref();
            variable.is_some_and(|variable| values.iter().any(|(name, _)| *name == variable))
        };
        let failures = content.fill(self.language.as_ref(), &values).err().unwrap_or_default();
        let wrong: Vec<_> = failures.into_iter().filter(is_given).map(FieldError::unfilled).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut costs = template::Costs::default();
        let people = contacts.iter().map(|contact| &contact.details);
        content.add_costs(&mut costs, people, self.language.as_ref(), &values);
        Ok(TemplateCosts {
            looked_at: contacts.len(),
            filled: costs.filled(),
            median_segments: costs.median(),
            worst_segments: costs.worst(),
        })
    }

    /// That there is no template of this name, or no such version of it.
    pub fn unknown(&self) -> FieldError {
        let detail = match self.version {
            Some(_) => "There is no such template, or no such version of it.",
            None => "There is no template of this name or id.",
        };
        FieldError::new("template", Code::TemplateNotFilled, "unknown_template", detail)
    }
}

impl FieldError {
    /// What is told about a text that was not made: the value by its name.
    pub fn unfilled(failure: Failure) -> Self {
        match failure.variable {
            Some(name) => {
                let shown = brief(&name, NAME_SHOWN);
                let detail = format!("`{shown}` {}.", failure.why);
                Self::new(format!("values.{shown}"), Code::TemplateNotFilled, failure.why.code(), detail)
            }
            None => {
                let detail = format!("The template {}.", failure.why);
                Self::new("template", Code::TemplateNotFilled, failure.why.code(), detail)
            }
        }
    }
}

/// Whose contacts a template is looked at for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those of a group.
    Group(Group),
    /// Those whom a segment finds, by its name or id.
    Segment(String),
}

/// How a template is to be looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewRequest {
    /// What it is filled with.
    pub filling: Filling,
    /// Whether there are values to fill it with.
    pub has_values: bool,
    /// Whose contacts are looked at.
    pub whom: Option<Whom>,
}

/// Parses the body of `POST /v1/templates/{id}/preview`.
///
/// # Errors
/// Everything that is wrong with it, field by field.
pub fn parse_preview(json: &Json<'_>) -> Result<PreviewRequest, Vec<FieldError>> {
    let mut errors = Vec::new();
    let fields = PREVIEW.read(json, "", &mut errors);
    let filling = Filling::of_known(fields, &mut errors);
    let whom = match (fields.text("group"), fields.text("segment")) {
        (Some(_), Some(_)) => {
            let detail = "Give `group` or `segment`: one of them is looked at.";
            errors.push(FieldError::new("segment", Code::InvalidRequest, "given_twice", detail));
            None
        }
        (Some(name), None) => match Group::parse(name) {
            Ok(group) => Some(Whom::Group(group)),
            Err(why) => {
                errors.push(FieldError::new("group", Code::InvalidRequest, why.code(), why));
                None
            }
        },
        (None, Some(named)) => Some(Whom::Segment(named.to_owned())),
        (None, None) => None,
    };
    if errors.is_empty() {
        Ok(PreviewRequest { filling, has_values: fields.has("values"), whom })
    } else {
        Err(errors)
    }
}

/// A version of a template.
#[derive(Debug, Serialize, ToSchema)]
pub struct Template<'a> {
    /// The id that all versions share.
    #[schema(value_type = String, example = "tpl_01j8z0k2m4p6q")]
    pub id: Shown<TemplateId>,
    /// What messages name it by.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// Which version this is, from 1.
    pub version: u32,
    /// The newest version that there is.
    pub newest_version: u32,
    /// The language of who asks for none, or for one that there is not.
    pub language: &'a str,
    /// The text in each language.
    pub texts: BTreeMap<&'a str, &'a str>,
    /// What the texts are filled with.
    #[schema(value_type = Vec<TemplateVariable>)]
    pub variables: Vec<TemplateVariable<'a>>,
    /// When this version was made.
    #[schema(value_type = String)]
    pub created_at: Shown<Timestamp>,
    /// Who made it: a token, a client, or `operator`.
    pub created_by: &'a str,
}

/// A value that a template is filled with.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateVariable<'a> {
    /// Its name.
    pub name: &'a str,
    /// `text`, `number`, `amount`, `date` or `yes_no`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What usually stands there, as it is written.
    pub sample: String,
    /// Of a `text`: its most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// Of a `text`: whether it may only have characters of the GSM alphabet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gsm_only: Option<bool>,
    /// Of a `text`: whether it may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_be_empty: Option<bool>,
    /// Of a `number` or `amount`: the smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Of a `number` or `amount`: the largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

impl<'a> TemplateVariable<'a> {
    fn new(variable: &'a Variable) -> Self {
        let bare = Self {
            name: &variable.name,
            kind: variable.kind.as_str(),
            sample: match &variable.sample {
                Value::Date(date) => date.clone(),
                other => other.to_string(),
            },
            max_length: None,
            gsm_only: None,
            may_be_empty: None,
            min: None,
            max: None,
        };
        match variable.kind {
            Typed::Text { most, any_alphabet, may_be_empty } => Self {
                max_length: Some(most),
                gsm_only: Some(!any_alphabet),
                may_be_empty: Some(may_be_empty),
                ..bare
            },
            Typed::Number { least, most } | Typed::Amount { least, most } => {
                Self { min: Some(least), max: Some(most), ..bare }
            }
            Typed::Date | Typed::YesNo => bare,
        }
    }
}

impl<'a> Template<'a> {
    /// Shows a version of a template.
    pub fn new(template: &'a template::Template) -> Self {
        let content = &template.content;
        Self {
            id: Shown(template.id),
            name: &template.name,
            description: &template.description,
            version: template.version,
            newest_version: template.newest,
            language: content.language.as_str(),
            texts: content.texts.iter().map(|(language, text)| (language.as_str(), text.as_str())).collect(),
            variables: content.variables.iter().map(TemplateVariable::new).collect(),
            created_at: Shown(template.created_at),
            created_by: &template.created_by,
        }
    }
}

/// What a template says and costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplatePreview<'a> {
    /// The template.
    #[schema(value_type = String)]
    pub id: Shown<TemplateId>,
    /// Which version of it.
    pub version: u32,
    /// In which language.
    pub language: &'a str,
    /// The text with the values that were given; null if none were.
    pub text: Option<MadeText>,
    /// The text with the samples.
    pub usual: MadeText,
    /// The dearest text that was found with each value at one end of what it may be.
    pub worst: MadeText,
    /// What the messages to the contacts of the group or segment would cost, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contacts: Option<TemplateCosts>,
}

/// What the messages to some contacts would cost, as far as a look at some of them says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateCosts {
    /// Contacts that were looked at: all of a small group, and some hundreds from all over a large one.
    pub looked_at: usize,
    /// Those of them whom the values fill; the others would be refused.
    pub filled: u64,
    /// Half of those have no more segments than this; null if there are none.
    pub median_segments: Option<u32>,
    /// The most segments that one of them has.
    pub worst_segments: Option<u32>,
}

/// A text that was made, and what it costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeText {
    /// The text.
    pub text: String,
    /// `gsm7` or `ucs2`.
    #[schema(value_type = String)]
    pub encoding: Shown<Encoding>,
    /// Septets (gsm7) or UTF-16 units (ucs2).
    pub units: u32,
    /// The parts that the network carries, which is what is paid.
    pub segments: u32,
}

impl MadeText {
    /// Measures a text as a carrier without special tables takes it.
    pub fn new(text: String) -> Self {
        let measured = text::measure(&text, &text::Options::default());
        Self::measured(text, measured)
    }

    fn measured(text: String, measured: Measured) -> Self {
        let Measured { encoding, units, segments, .. } = measured;
        Self { text, encoding: Shown(encoding), units, segments }
    }
}

impl<'a> TemplatePreview<'a> {
    /// What it says and costs in this language, and with the values if there are any. `None` if it makes no text, as no
    /// template does that was accepted.
    pub fn new(
        template: &'a template::Template,
        language: &'a Language,
        text: Option<String>,
        contacts: Option<TemplateCosts>,
    ) -> Option<Self> {
        let Outlook { usual, worst, worst_measured } = template.content.outlook(language)?;
        Some(Self {
            id: Shown(template.id),
            version: template.version,
            language: language.as_str(),
            text: text.map(MadeText::new),
            usual: MadeText::new(usual),
            worst: MadeText::measured(worst, worst_measured),
            contacts,
        })
    }
}

/// Of which template a message was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateOrigin {
    /// The template.
    #[schema(value_type = String)]
    pub id: Shown<TemplateId>,
    /// Which version of it.
    pub version: u32,
}

impl TemplateOrigin {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { id: Shown(origin.template), version: origin.version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::golden;
    use tidings_domain::account::{Environment, Realm};
    use tidings_domain::id::AccountId;

    fn read(body: &str) -> Result<New, Vec<FieldError>> {
        parse(&Json::parse(body.as_bytes()).unwrap())
    }

    const TABLE: &str = r#"{"name":"table-ready","texts":{"en":"Hi {{ name }}, table {{ table }} is ready.","de-AT":"{{ name }}: Tisch {{ table }}!"},
        "variables":[{"name":"name","type":"text","sample":"Ana","max_length":20,"gsm_only":true},
                     {"name":"table","type":"number","sample":7,"max":99}]}"#;

    #[test]
    fn a_template_is_read_and_shown() {
        let new = read(TABLE).unwrap();
        let template = template::Template {
            id: TemplateId::from_key(5),
            realm: Realm { account: AccountId::from_key(1), environment: Environment::Test },
            name: new.name,
            description: new.description,
            version: 1,
            newest: 2,
            content: new.content,
            created_at: Timestamp::from_millis(1_795_000_000_123),
            created_by: "operator".to_owned(),
        };
        golden("template.json", &serde_json::to_string_pretty(&Template::new(&template)).unwrap());
        let language = Language::parse("en").unwrap();
        let preview = TemplatePreview::new(&template, &language, Some("Hi".to_owned()), None).unwrap();
        golden("template_preview.json", &serde_json::to_string_pretty(&preview).unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let check = |body: &str, expected: &str| {
            let errors = read(body).unwrap_err();
            let found: Vec<_> =
                errors.iter().map(|error| format!("{}:{}", error.field, error.reason)).collect();
            assert_eq!(found.join(" "), expected, "{body}");
        };
        check("{}", "name:missing texts:missing");
        check(r#"{"name":"A b","texts":{"en":"x"}}"#, "name:name");
        check(r#"{"name":"a","texts":{"english!":"x"}}"#, "texts:language");
        check(r#"{"name":"a","texts":{"de":"x"}}"#, "texts:missing_language");
        check(r#"{"name":"a","texts":{"en":"{{ b }}"}}"#, "texts.en:undeclared");
        check(
            r#"{"name":"a","texts":{"en":"{{ b }}"},"variables":[{"name":"b","type":"text","sample":""}]}"#,
            "variables[0].sample:missing_value",
        );
        check(
            r#"{"name":"a","texts":{"en":"{{ b }}"},"variables":[{"name":"b","type":"date","sample":"2026-01-01","max":3}]}"#,
            "variables[0].max:misplaced",
        );
        check(
            r#"{"name":"a","texts":{"en":"x"},"variables":[{"name":"b","type":"tex","sample":[1]}]}"#,
            "variables[0].type:unknown_word variables[0].sample:wrong_type",
        );
    }

    #[test]
    fn a_value_that_is_missing_or_wrong_is_named() {
        let content = read(TABLE).unwrap().content;
        let check = |values: &str, expected: &str| {
            let json = format!(r#"{{"values":{values}}}"#);
            let filling = parse_preview(&Json::parse(json.as_bytes()).unwrap()).unwrap().filling;
            let found = match filling.fill(&content) {
                Ok(filled) => filled.text,
                Err(errors) => errors.iter().map(|e| format!("!{}:{} ", e.field, e.reason)).collect(),
            };
            assert_eq!(found, expected, "{values}");
        };
        check(r#"{"name":"Ben","table":4}"#, "Hi Ben, table 4 is ready.");
        check(r#"{"name":null,"table":400}"#, "!values.name:missing_value !values.table:out_of_range ");
        check(r#"{"name":"Ben","table":"4","tabel":1}"#, "!values.tabel:unknown_value ");
    }
}
