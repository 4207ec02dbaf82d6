//! What people agreed to.

use crate::ask::{Answer, Ask, json};
use crate::page::{CURSOR, LIMIT, page};
use crate::problem::Problem;
use tidings_domain::address::PhoneNumber;
use tidings_domain::consent::{Act, Consent};
use tidings_domain::id::ConsentId;
use tidings_engine::proof::Proof;
use tidings_wire::Shown;
use tidings_wire::body::{Field, Kind};
use tidings_wire::consent;
use tidings_wire::consent_request;
use tidings_wire::error::{Code, FieldError};
use tidings_wire::page::{All, List, Page};
use tidings_wire::suppression;

const TO: Field = Field::new("to", Kind::Text, "The phone number.").required();

pub(crate) static OF_ONE: &[Field] = &[TO];
pub(crate) static FILTERS: &[Field] = &[TO, LIMIT, CURSOR];

pub(crate) fn recipient(ask: &Ask) -> Result<PhoneNumber, Problem> {
    let to = ask.query.number("to").ok_or_else(|| {
        FieldError::new("to", Code::InvalidRequest, "missing", "Say whose: `?to=` and the phone number.")
    })?;
    Ok(ask.door().recipient("to", &to)?)
}

/// Refuses the name of a programme that nobody configured where it would do harm: what is taken back for it would still be
/// sent, and what is asked for it would count for nothing. A grant for it is kept: it is what the person said.
pub(crate) fn check_programme(ask: &Ask, name: Option<&str>) -> Result<(), Problem> {
    let programmes = ask.app.engine.programmes();
    let unknown = name.filter(|name| !programmes.are_meant_by(name));
    let known = || programmes.all.iter().map(|one| one.name.as_str());
    unknown.map_or(Ok(()), |name| Err(FieldError::no_programme(name, known()).into()))
}

pub(crate) async fn record(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let now = engine.clock().now();
    let wanted = consent::parse(&ask.json()?, ask.door(), now)?;
    if wanted.act == Act::Revoked {
        check_programme(&ask, wanted.evidence.programme.as_deref())?;
    }
    let pairs = wanted
        .purposes
        .iter()
        .flat_map(|purpose| wanted.channels.iter().map(move |channel| (*purpose, *channel)));
    let entries: Vec<Consent> = pairs
        .map(|(purpose, channel)| Consent {
            id: ConsentId::from_key(engine.clock().id()),
            realm: ask.realm(),
            recipient: wanted.recipient,
            purpose,
            channel,
            act: wanted.act,
            given_at: wanted.given_at,
            recorded_at: now,
            expires_at: wanted.expires_at,
            method: wanted.method,
            evidence: wanted.evidence.clone(),
            source: "api".to_owned(),
        })
        .collect();
    engine.store().record_consents(entries.clone(), ask.actor(), now).await?;
    json(201, &All { data: entries.iter().map(consent::shown).collect() })
}

pub(crate) async fn list(ask: Ask) -> Answer {
    let page = page(&ask, List::Consents)?;
    let found = ask.app.engine.store().consents(ask.realm(), recipient(&ask)?, page).await?;
    json(200, &Page::new(List::Consents, found.items.iter().map(consent::shown).collect(), found.next))
}

pub(crate) async fn proof(ask: Ask) -> Answer {
    let engine = &ask.app.engine;
    let proof = Proof::of(&**engine.store(), ask.realm(), recipient(&ask)?, engine.clock().now()).await?;
    let exported =
        format!("{} entries", proof.consents.len() + proof.suppressions.len() + proof.requests.len());
    engine
        .store()
        .record_audit(ask.actor(), "consent.prove".to_owned(), "proof".to_owned(), exported, proof.made_at)
        .await?;
    json(
        200,
        &consent::Proof {
            to: Shown(proof.recipient),
            made_at: Shown(proof.made_at),
            suppressed: proof.standing(&ask.app.engine.programmes().names()).against_all().is_some(),
            standing: consent::standings(
                &proof.consents,
                &proof.opt_outs(),
                engine.programmes(),
                proof.made_at,
            ),
            consents: proof.consents.iter().map(consent::shown).collect(),
            suppressions: proof.suppressions.iter().map(suppression::shown).collect(),
            requests: proof.requests.iter().map(consent_request::shown).collect(),
        },
    )
}
