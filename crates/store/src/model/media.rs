//! Media that people send: they are kept with their messages.

use super::Tables;
use crate::Result;
use crate::backend::*;
use tidings_domain::account::Realm;
use tidings_domain::id::InboundId;

impl Tables {
    pub(super) fn media(&mut self, realm: Realm, id: InboundId, place: u8) -> Result<Option<KeptMedium>> {
        let inbound = self.inbounds.find(id).filter(|inbound| inbound.realm == realm);
        let listed = inbound.and_then(|inbound| inbound.kept(place));
        let octets = self.inbounds.medium(id, place);
        let both = listed.zip(octets);
        both.map(|(listed, octets)| KeptMedium::whole(listed.clone(), octets.to_vec())).transpose()
    }
}
