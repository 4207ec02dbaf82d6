//! Templates, and messages whose texts are made of them.

use crate::ask::{Answer, Ask, json};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use crate::{auth, segment};
use std::sync::Arc;
use tidings_domain::account::Scope;
use tidings_domain::contact::Contact;
use tidings_domain::id::TemplateId;
use tidings_domain::template::{Content, Flaw, Origin, Template};
use tidings_engine::contact;
use tidings_store::WhichTemplate;
use tidings_wire::body::{Field, Kind};
use tidings_wire::error::{Code, FieldError};
use tidings_wire::message::Parsed;
use tidings_wire::page::{List, Page};
use tidings_wire::template::{self as wire, PreviewRequest, TemplatePreview, Whom};

pub(crate) static FILTERS: &[Field] =
    &[LIMIT, CURSOR, Field::new("prefix", Kind::Text, "Only templates whose name begins so.")];
pub(crate) static VERSION: &[Field] =
    &[Field::new("version", Kind::Integer(1, 1_000_000), "Which version; the newest if not given.")];

pub(crate) async fn create(ask: Ask) -> Answer {
    let new = wire::parse(&ask.json()?)?;
    let engine = &ask.app.engine;
    let actor = ask.actor();
    let template = Template {
        id: TemplateId::from_key(engine.clock().id()),
        realm: ask.realm(),
        name: new.name,
        description: new.description,
        version: 1,
        newest: 1,
        content: new.content,
        created_at: engine.clock().now(),
        created_by: actor.who.clone(),
    };
    engine.store().create_template(template.clone(), actor).await?;
    json(201, &wire::Template::new(&template))
}

pub(crate) async fn add_version(ask: Ask) -> Answer {
    let content = wire::parse_version(&ask.json()?)?;
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let added =
        engine.store().add_template_version(ask.realm(), ask.id()?, content, ask.actor(), now).await?;
    json(201, &wire::Template::new(&added.ok_or_else(Problem::not_found)?))
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let page = page(&ask, List::Templates)?;
    let prefix = ask.query.get("prefix").unwrap_or_default().to_owned();
    let found = ask.app.engine.store().templates(ask.realm(), prefix, page).await?;
    let data = found.items.iter().map(wire::Template::new).collect();
    json(200, &Page::new(List::Templates, data, found.next))
}

pub(crate) async fn read(ask: Ask) -> Answer {
    let version = ask.query.get("version").and_then(|number| number.parse().ok());
    let found = find(&ask, ask.part("id"), version).await?.ok_or_else(Problem::not_found)?;
    json(200, &wire::Template::new(&found))
}

pub(crate) async fn preview(ask: Ask) -> Answer {
    let PreviewRequest { filling, has_values, whom } = wire::parse_preview(&ask.json()?)?;
    let found = find(&ask, ask.part("id"), filling.version).await?.ok_or_else(Problem::not_found)?;
    let costs = match &whom {
        Some(whom) => Some(filling.costs(&found.content, &sample(&ask, whom).await?)?),
        None => None,
    };
    let text = match has_values && whom.is_none() {
        true => Some(filling.fill(&found.content)?.text),
        false => None,
    };
    let language = found.content.language_for(filling.language.as_ref());
    let shown = TemplatePreview::new(&found, language, text, costs);
    json(200, &shown.ok_or_else(|| makes_no_text(&found.content))?)
}

/// Some of the contacts of a group or a segment, for who may read them.
async fn sample(ask: &Ask, whom: &Whom) -> Result<Vec<Contact>, Problem> {
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let (group, query) = match whom {
        Whom::Group(group) => {
            if !ask.caller().principal.scopes.has(Scope::ContactsRead) {
                return Err(auth::missing(Scope::ContactsRead));
            }
            (Some(group.clone()), None)
        }
        Whom::Segment(named) => {
            let query = segment::readable(ask, named).await?.query;
            (query.within().cloned(), Some(query))
        }
    };
    let query = query.as_ref().map(|query| (query, now));
    Ok(contact::sample(&**engine.store(), ask.realm(), group, query).await?)
}

/// Why: nobody could make it as it is, so it was stored by other means, or before what it has was refused.
fn makes_no_text(content: &Content) -> Problem {
    let error = |flaw: Flaw| FieldError::new("template", Code::TemplateNotFilled, "render", flaw.detail);
    let errors: Vec<_> = content.check().into_iter().map(error).collect();
    if errors.is_empty() {
        return Problem::new(Code::UnknownError, "This template makes no text.");
    }
    errors.into()
}

/// A template by its name or id.
pub(crate) async fn find(ask: &Ask, named: &str, version: Option<u32>) -> Result<Option<Template>, Problem> {
    let which = match named.parse() {
        Ok(id) => WhichTemplate::Id(id),
        Err(_) => WhichTemplate::Name(named.to_owned()),
    };
    Ok(ask.app.engine.store().template(ask.realm(), which, version).await?)
}

/// The templates of one call: each is looked up once.
#[derive(Default)]
pub(crate) struct Templates(Vec<(String, Option<u32>, Option<Arc<Template>>)>);

impl Templates {
    /// Makes the text of a message, if it is to be made of a template. In the inner result is what is wrong with the values.
    pub(crate) async fn fill(
        &mut self,
        ask: &Ask,
        parsed: &mut Parsed,
    ) -> Result<Result<(), Vec<FieldError>>, Problem> {
        let Some(filling) = parsed.filling.take() else { return Ok(Ok(())) };
        let is_known = |(named, version, _): &&(String, Option<u32>, Option<Arc<Template>>)| {
            (named, version) == (&filling.template, &filling.version)
        };
        let found = match self.0.iter().find(is_known) {
            Some((.., found)) => found.clone(),
            None => {
                let found = find(ask, &filling.template, filling.version).await?.map(Arc::new);
                self.0.push((filling.template.clone(), filling.version, found.clone()));
                found
            }
        };
        let Some(template) = found else { return Ok(Err(vec![filling.unknown()])) };
        Ok(filling.fill(&template.content).map(|filled| {
            parsed.request.text = filled.text;
            parsed.request.template = Some(Origin { template: template.id, version: template.version });
        }))
    }
}
