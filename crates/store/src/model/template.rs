//! Templates and their versions. Versions are only ever added.

use super::{Tables, page_of};
use crate::backend::*;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tidings_domain::account::Realm;
use tidings_domain::id::TemplateId;
use tidings_domain::template::{Content, Template};
use tidings_domain::time::Timestamp;

/// Every version of every template, the first first.
#[derive(Debug, Clone, Default)]
pub(super) struct Templates {
    versions: BTreeMap<TemplateId, Vec<Template>>,
}

impl Templates {
    /// A template in this version, with the number of its newest.
    fn find(&self, id: TemplateId, version: Option<u32>) -> Option<Template> {
        let versions = self.versions.get(&id)?;
        let newest = versions.last()?;
        let found = match version {
            Some(number) => versions.iter().find(|one| one.version == number)?,
            None => newest,
        };
        Some(Template { newest: newest.version, ..found.clone() })
    }
}

impl Tables {
    pub(super) fn create_template(&mut self, template: Template, actor: Actor) -> Result<()> {
        let all = &self.templates.versions;
        let has_name = |first: &&Template| (first.realm, &first.name) == (template.realm, &template.name);
        if let Some(known) = all.values().flatten().find(has_name) {
            return Err(Error::Conflict(format!(
                "the template {} has the name `{}` already",
                known.id, known.name
            )));
        }
        if all.contains_key(&template.id) {
            return Err(Error::Conflict(format!("there is a template {} already", template.id)));
        }
        let (id, now) = (template.id, template.created_at);
        self.write_audit(&actor, "template.create", id.to_string(), template.name.clone(), now);
        let first = Template { version: 1, newest: 1, created_by: actor.who, ..template };
        self.templates.versions.insert(id, vec![first]);
        Ok(())
    }

    pub(super) fn add_template_version(
        &mut self,
        realm: Realm,
        id: TemplateId,
        content: Content,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Option<Template>> {
        let before = self.templates.find(id, None).filter(|template| template.realm == realm);
        let Some(before) = before else { return Ok(None) };
        let version = before.newest + 1;
        let next = Template {
            version,
            newest: version,
            content,
            created_at: now,
            created_by: actor.who.clone(),
            ..before
        };
        self.write_audit(&actor, "template.version", id.to_string(), format!("version {version}"), now);
        self.templates.versions.entry(id).or_default().push(next.clone());
        Ok(Some(next))
    }

    pub(super) fn template(
        &mut self,
        realm: Realm,
        which: WhichTemplate,
        version: Option<u32>,
    ) -> Result<Option<Template>> {
        let id = match which {
            WhichTemplate::Id(id) => Some(id),
            WhichTemplate::Name(name) => {
                let mut newest = self.templates.versions.values().filter_map(|versions| versions.last());
                newest.find(|one| one.realm == realm && one.name == name).map(|one| one.id)
            }
        };
        let found = id.and_then(|id| self.templates.find(id, version));
        Ok(found.filter(|template| template.realm == realm))
    }

    pub(super) fn templates(&mut self, realm: Realm, prefix: String, page: Page) -> Result<Paged<Template>> {
        let before = TemplateId::from_key(page.before.unwrap_or(i64::MAX));
        let ids = self.templates.versions.range(..before).rev().map(|(id, _)| *id);
        let all = ids.filter_map(|id| self.templates.find(id, None));
        let found = all.filter(|one| one.realm == realm && one.name.starts_with(&prefix));
        Ok(page_of(found, page, |template| template.id.key()))
    }
}
