//! Media that people send, as messages show them.

use serde::Serialize;
use tidings_domain::id::InboundId;
use tidings_domain::media::{Fate, Listed, kind};
use tidings_domain::octets::hexadecimal;
use utoipa::ToSchema;

/// Something that a person sent with a message, or in place of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Medium<'a> {
    /// Its type, as it came: what a stranger calls it, and no more. `application/octet-stream` if it has none.
    #[schema(example = "image/jpeg")]
    pub content_type: &'a str,
    /// `image`, `audio`, `video`, `vcard`, `text` or `other`. What would act on whoever opens it, such as a page, is `other`.
    pub kind: &'static str,
    /// How large it is.
    pub bytes: u64,
    /// The SHA-256 of its octets, in hexadecimal; null if it was left out.
    pub sha256: Option<String>,
    /// Its name, without what may not be in one; null if it has none. Written by a stranger: escape it for whatever shows it.
    pub name: Option<&'a str>,
    /// Where its octets are, on this server; null if it was left out.
    #[schema(example = "/v1/inbound/inb_01j8z0k2m4p6q/media/1")]
    pub url: Option<String>,
    /// Why it was not kept: `too_large`, or with what came before it `too_many` or `too_much`; null if it was.
    pub left_out: Option<&'static str>,
}

/// All that came with a message.
pub fn media(message: InboundId, all: &[Listed]) -> Vec<Medium<'_>> {
    (1..).zip(all).map(|(place, listed)| medium(message, place, listed)).collect()
}

fn medium(message: InboundId, place: usize, listed: &Listed) -> Medium<'_> {
    let (hash, left_out) = match &listed.fate {
        Fate::Kept(hash) => (Some(hash), None),
        Fate::LeftOut(why) => (None, Some(why.as_str())),
    };
    Medium {
        content_type: &listed.content_type,
        kind: kind(&listed.content_type).as_str(),
        bytes: listed.octets,
        sha256: hash.map(|hash| hexadecimal(hash)),
        name: listed.name.as_deref(),
        url: hash.map(|_| format!("/v1/inbound/{message}/media/{place}")),
        left_out,
    }
}
