//! Media that people send: kept in the commit of their message, told with it, and gone with it.

use crate::samples::*;
use crate::{for_each_backend, for_each_place};
use std::sync::Arc;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::event::Kind;
use tidings_domain::id::*;
use tidings_domain::media::{Content, Fate, ITEM_OCTETS_MAX, Item, Kind as Sort, LISTED_MAX, LeftOut, kind};
use tidings_domain::suppression::Reason;
use tidings_store::*;

/// The arrival with these: type, name and octets of each.
pub fn with(arrival: Arrival, all: &[(&str, Option<&str>, &[u8])]) -> Arrival {
    let item = |(content_type, name, octets): &(&str, Option<&str>, &[u8])| Item {
        content_type: (*content_type).to_owned(),
        name: name.map(str::to_owned),
        content: Content::Octets((*octets).into()),
    };
    Arrival { media: Medium::all(all.iter().map(item).collect()), ..arrival }
}

async fn medium(store: &Arc<dyn Backend>, n: i64, place: u8) -> Option<Vec<u8>> {
    let found = store.media(HOME, InboundId::from_key(n), place).await.expect("read");
    found.map(|found| found.octets)
}

async fn shown(store: &Arc<dyn Backend>, n: i64) -> Inbound {
    store.inbound(HOME, InboundId::from_key(n)).await.expect("read").expect("there").inbound
}

#[test]
fn what_comes_with_a_message_is_kept_and_told_with_it() {
    for_each_backend(|store| async move {
        let octets: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let came = with(
            arrival(1, "look", START),
            &[
                ("Image/JPEG; name=x", Some("../../photo\u{202E}.jpg"), &octets),
                ("text/html", None, b"<script>"),
                ("image/png", Some("empty.png"), b""),
            ],
        );
        let told = receive(&store, vec![came], START).await.told;
        let listed = shown(&store, 1).await.media;
        let types: Vec<&str> = listed.iter().map(|one| one.content_type.as_str()).collect();
        assert_eq!(types, ["image/jpeg", "text/html", "image/png"]);
        let names: Vec<_> = listed.iter().map(|one| one.name.as_deref()).collect();
        assert_eq!(names, [Some("photo.jpg"), None, Some("empty.png")]);
        assert_eq!(listed.iter().map(|one| one.octets).collect::<Vec<_>>(), [200_000, 8, 0]);
        assert_eq!(medium(&store, 1, 1).await, Some(octets));
        assert_eq!(medium(&store, 1, 2).await.as_deref(), Some(&b"<script>"[..]));
        assert_eq!(medium(&store, 1, 3).await.as_deref(), Some(&b""[..]));
        for place in [0, 4, 255] {
            assert_eq!(medium(&store, 1, place).await, None, "{place}");
        }
        assert_eq!(medium(&store, 2, 1).await, None, "there is no such message");
        let elsewhere = Realm { environment: Environment::Test, ..HOME };
        assert!(store.media(elsewhere, InboundId::from_key(1), 1).await.expect("read").is_none());
        // Whoever is told of the message is told of them.
        assert!(told.is_empty(), "nobody listens");
        let feed = feed(&store, HOME, MANY).await;
        let About::Inbound(inbound) = &feed[0].about else { panic!("it is inbound") };
        assert_eq!((&inbound.media, feed[0].event.kind), (&listed, Kind::Received));
        let said = store.media(HOME, InboundId::from_key(1), 1).await.expect("read").expect("there");
        assert_eq!((&said.listed, kind(&said.listed.content_type)), (&listed[0], Sort::Image));
    });
}

#[test]
fn a_message_without_a_text_is_one_and_the_same_again_is_not() {
    for_each_backend(|store| async move {
        let picture =
            |n: i64, octets: &[u8], now| with(arrival(n, "", now), &[("image/png", Some("a.png"), octets)]);
        let ignored = async |arrivals: Vec<Arrival>, now| receive(&store, arrivals, now).await.ignored;
        // Two pictures at once are two messages; each offered again is the one that came.
        assert_eq!(ignored(vec![picture(1, b"one", at(0)), picture(2, b"two", at(0))], at(0)).await, 0);
        assert_eq!(ignored(vec![picture(3, b"one", at(1)), picture(4, b"two", at(1))], at(1)).await, 2);
        assert_eq!(
            ignored(vec![arrival(5, "", at(1))], at(1)).await,
            0,
            "a text without a picture is another"
        );
        let renamed = with(arrival(6, "", at(1)), &[("image/png", Some("b.png"), b"one")]);
        assert_eq!(ignored(vec![renamed], at(1)).await, 0);
        assert_eq!(ignored(vec![picture(7, b"one", at(30))], at(30)).await, 0, "a person sends it again");
        let again = Arrival { opened: Some(at(50)), ..picture(8, b"one", at(60)) };
        assert_eq!(ignored(vec![again], at(60)).await, 1, "the carrier may not know that it is stored");
        let kinds: Vec<Kind> = feed(&store, HOME, MANY).await.iter().map(|told| told.event.kind).collect();
        assert_eq!(kinds, [Kind::Received; 5]);
        let one = shown(&store, 1).await;
        assert_eq!(
            (one.text.as_str(), one.media.len(), medium(&store, 1, 1).await),
            ("", 1, Some(b"one".to_vec()))
        );
        assert_eq!(medium(&store, 3, 1).await, None, "nothing of a repetition is kept");
    });
}

#[test]
fn it_stands_in_the_conversation_of_who_sent_it() {
    for_each_backend(|store| async move {
        let text = crate::conversation::said(1, 7, "", 1);
        receive(&store, vec![with(text, &[("image/gif", None, b"GIF89a")])], at(1)).await;
        let whose = store.inbound(HOME, InboundId::from_key(1)).await.expect("read").expect("there").whose;
        let conversation = whose.conversation.expect("it stands in one");
        let lines = store.lines(HOME, conversation, page(MANY)).await.expect("read").expect("there").items;
        let What::Inbound(inbound) = &lines[0].what else { panic!("it is inbound") };
        assert_eq!((lines.len(), inbound.media.len()), (1, 1));
    });
}

#[test]
fn what_is_left_out_is_named_and_why() {
    for_each_backend(|store| async move {
        let large = vec![0; ITEM_OCTETS_MAX + 1];
        receive(
            &store,
            vec![with(arrival(1, "", START), &[("image/png", None, &large), ("image/png", None, b"x")])],
            START,
        )
        .await;
        let media = shown(&store, 1).await.media;
        assert_eq!(media[0].fate, Fate::LeftOut(LeftOut::TooLarge));
        assert_eq!(media[0].octets, large.len() as u64);
        assert_eq!((medium(&store, 1, 1).await, medium(&store, 1, 2).await), (None, Some(b"x".to_vec())));
        let many = vec![("image/png", None, &b"x"[..]); LISTED_MAX + 9];
        receive(&store, vec![with(arrival(2, "many", START), &many)], START).await;
        let media = shown(&store, 2).await.media;
        let kept = media.iter().filter(|one| matches!(one.fate, Fate::Kept(_))).count();
        assert_eq!((media.len(), kept), (LISTED_MAX, 10));
        assert_eq!((medium(&store, 2, 10).await, medium(&store, 2, 11).await), (Some(b"x".to_vec()), None));
    });
}

#[test]
fn a_word_beside_a_picture_acts_as_ever_and_a_part_with_a_picture_is_whole() {
    for_each_backend(|store| async move {
        let photo: &[(&str, Option<&str>, &[u8])] = &[("image/png", None, b"x")];
        let stop = receive(&store, vec![with(arrival(1, "STOP", at(1)), photo)], at(1)).await;
        assert!(stop.opted_out);
        let listed =
            async |now| store.suppressed(vec![(HOME, number(7))], now).await.expect("read")[0].account;
        assert_eq!(listed(at(1)).await, Some(Reason::OptedOut));
        receive(&store, vec![with(arrival(2, "START", at(9)), photo)], at(9)).await;
        assert_eq!(listed(at(9)).await, None);
        // It waits for nothing, and is no part of what does.
        let come = vec![
            part(3, (7, 2, 1), "first ", at(20)),
            with(part(4, (7, 2, 2), "with a picture", at(20)), photo),
            part(5, (7, 2, 2), "second", at(20)),
        ];
        receive(&store, come, at(20)).await;
        let (whole, alone) = (shown(&store, 3).await, shown(&store, 4).await);
        assert_eq!((whole.text.as_str(), whole.media.len()), ("first second", 0));
        assert_eq!((alone.text.as_str(), alone.media.len(), alone.parts), ("with a picture", 1, None));
    });
}

#[test]
fn they_go_with_their_message_a_few_at_a_time() {
    for_each_backend(|store| async move {
        let key = |n: i64| floor_at(START) + n;
        let picture = |n: i64| {
            let octets = n.to_be_bytes();
            with(
                arrival(key(n), "", at(n)),
                &[("image/png", None, &octets), ("image/png", None, b"the same")],
            )
        };
        receive(&store, (1..=30).map(picture).collect(), at(30)).await;
        // The newest event's message stays.
        receive(&store, vec![picture(31)], at(31)).await;
        let keep = Retention { messages_ms: Some(DAY_MS), ..KEPT_A_DAY };
        let later = at(99).plus_ms(DAY_MS);
        let left = async || {
            let mut left = 0;
            for n in 1..=31 {
                left += usize::from(medium(&store, key(n), 2).await.is_some());
            }
            left
        };
        assert!(store.sweep(keep, MANY, later).await.expect("swept"), "there are more");
        assert_eq!(left().await, 11);
        while store.sweep(keep, MANY, later).await.expect("swept") {}
        assert_eq!(left().await, 1);
        // Nothing is left of them: the same may come under the same number.
        receive(&store, vec![picture(5)], later).await;
        assert_eq!(medium(&store, key(5), 1).await, Some(5_i64.to_be_bytes().to_vec()));
    });
}

#[test]
fn octets_that_are_not_those_that_came_are_not_given_out() {
    for_each_place(|place| async move {
        let store = place.open();
        receive(&store, vec![with(arrival(1, "", START), &[("image/png", None, b"abc")])], START).await;
        if place.spoil("UPDATE media SET octets = substr(octets, 2)") {
            let read = store.media(HOME, InboundId::from_key(1), 1).await;
            assert!(matches!(read, Err(Error::Corrupt(_))), "{read:?}");
        }
        if place.spoil("UPDATE inbound SET media = 'what'") {
            let read = store.inbound(HOME, InboundId::from_key(1)).await;
            assert!(matches!(read, Err(Error::Corrupt(_))), "{read:?}");
        }
        store.close().await.expect("closed");
    });
}
