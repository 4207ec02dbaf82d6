//! Media that people send with their messages.

use super::{Arrival, Inbound};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tidings_domain::assembly::{self, Assembly};
use tidings_domain::media::{self, Content, Fate, Item, LISTED_MAX, Listed};
use tidings_domain::text::{Part, Segment};

/// One thing that came with a message, on its way into the store.
#[derive(Debug, Clone)]
pub struct Medium {
    /// As it is told.
    pub listed: Listed,
    /// Its octets, if it is kept.
    pub octets: Option<Arc<[u8]>>,
}

impl Medium {
    /// What is kept and told of these: all that a carrier handed over with one message, up to [`LISTED_MAX`].
    pub fn all(mut items: Vec<Item>) -> Vec<Self> {
        items.truncate(LISTED_MAX);
        let verdicts = media::judge(&items);
        let medium = |(item, left_out): (Item, Option<media::LeftOut>)| {
            let size = item.content.octets();
            let (fate, octets) = match (left_out, item.content) {
                (None, Content::Octets(octets)) => (Fate::Kept(Sha256::digest(&octets).into()), Some(octets)),
                (why, _) => (Fate::LeftOut(why.unwrap_or(media::LeftOut::TooLarge)), None),
            };
            Self {
                listed: Listed {
                    content_type: media::content_type(&item.content_type),
                    name: item.name.as_deref().and_then(media::name),
                    octets: size,
                    fate,
                },
                octets,
            }
        };
        items.into_iter().zip(verdicts).map(medium).collect()
    }
}

/// Messages with media that one sweep takes out, at most: a commit must not grow with what they hold.
pub(crate) const SWEPT_WITH_MEDIA_MAX: usize = 20;

/// Something that came with a message and was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMedium {
    /// As it is told.
    pub listed: Listed,
    /// Its octets.
    pub octets: Vec<u8>,
}

impl KeptMedium {
    /// What was stored, if it is what came.
    pub(crate) fn whole(listed: Listed, octets: Vec<u8>) -> crate::Result<Self> {
        match listed.fate {
            Fate::Kept(hash) if hash == <[u8; 32]>::from(Sha256::digest(&octets)) => {
                Ok(Self { listed, octets })
            }
            _ => Err(crate::Error::Corrupt("something that came with a message is not what came".to_owned())),
        }
    }
}

impl Arrival {
    /// Which part of a message it is; `None` if it is a message by itself, as everything is that has media.
    pub fn place(&self) -> Option<Part> {
        assembly::place(&self.segment).filter(|_| self.media.is_empty())
    }

    /// The message that it begins, as far as it came.
    pub(crate) fn assembly(&self) -> Assembly {
        Assembly::of(Segment { part: self.place(), ..self.segment.clone() })
    }

    /// What came with it, as it is told.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        self.media.iter().map(|medium| medium.listed.clone()).collect()
    }

    /// The octets that are kept with it, each with its place, from 1.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u8, &Arc<[u8]>)> {
        let places = (1..).zip(&self.media);
        places.filter_map(|(place, medium)| Some((place, medium.octets.as_ref()?)))
    }
}

impl Inbound {
    /// What came with it at this place, from 1, if it was kept.
    pub fn kept(&self, place: u8) -> Option<&Listed> {
        let listed = self.media.get(usize::from(place).checked_sub(1)?)?;
        matches!(listed.fate, Fate::Kept(_)).then_some(listed)
    }
}
