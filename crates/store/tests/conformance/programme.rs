//! Programmes: what is kept of them.

use crate::for_each_place;
use crate::samples::*;
use tidings_domain::message::Message;
use tidings_domain::programme::Name;

#[test]
fn a_message_says_of_which_programme_it_is() {
    for_each_place(|place| async move {
        let store = place.open();
        let made = Message { programme: Name::parse("offers"), ..message(1) };
        accept(&store, [made.clone(), message(2)]).await;
        assert_eq!(claim_at(&store, START).await[0].message.programme, made.programme);
        store.close().await.expect("closed");
        let store = place.open();
        assert_eq!(stored(&store, id(1)).await.message, made);
        assert_eq!(stored(&store, id(2)).await.message.programme, None);
        store.close().await.expect("closed");
    });
}
