//! Media that people send with a message, or in place of a text: pictures, sounds, cards of contacts.
//!
//! Whoever sends them is a stranger. So there are bounds, and what is over them is named and left out ([`judge`]); what is
//! called what is never believed further than this list of types goes ([`kind`], [`served_as`]); and a name is a word for people
//! to see, and no place of a file ([`name`]).
//!
//! Sources: RFC 6838 §4.2 (names of types), RFC 2046 §4.5.1 (what is unknown is `application/octet-stream`), WHATWG MIME Sniffing
//! (types that a browser acts upon), OMA-TS-MMS-CONF §7 (what phones send).

use crate::octets::hexadecimal;
use crate::text::is_active;
use std::fmt::Write as _;
use std::sync::Arc;

/// Media of one message that are kept, at most.
pub const ITEMS_MAX: usize = 10;
/// Octets of one that is kept, at most: 5 MiB. Networks carry 1 to 2 MB, some intermediaries 5 MB.
pub const ITEM_OCTETS_MAX: usize = 5 << 20;
/// Octets of all together that are kept of one message, at most: 10 MiB. A message is one commit.
pub const OCTETS_MAX: usize = 10 << 20;
/// Media of one message that are told of, kept or left out. Carriers hand over no more.
pub const LISTED_MAX: usize = 50;
/// Characters of a name, at most.
pub const NAME_MAX: usize = 100;
/// Characters of the end of a long name that are kept because they say what it is, with the dot.
const EXTENSION_MAX: usize = 11;
/// Characters of a type, at most.
const TYPE_MAX: usize = 100;
/// What nobody knows, or must not act upon.
pub const UNKNOWN: &str = "application/octet-stream";

/// One thing that a person sent with a message, as a carrier hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its type, as the sender's phone or the carrier calls it.
    pub content_type: String,
    /// Its name, likewise.
    pub name: Option<String>,
    /// What it is.
    pub content: Content,
}

/// What an item is.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// These octets. They are handed on and never copied.
    Octets(Arc<[u8]>),
    /// More than [`ITEM_OCTETS_MAX`] octets, of which the carrier read no more than that: so many, as far as it knows.
    TooLarge(u64),
}

impl Content {
    /// How large it is: octets.
    pub fn octets(&self) -> u64 {
        match self {
            Self::Octets(octets) => octets.len() as u64,
            Self::TooLarge(octets) => *octets,
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.octets())
    }
}

/// Why an item is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftOut {
    /// There are [`ITEMS_MAX`] before it.
    TooMany,
    /// It is over [`ITEM_OCTETS_MAX`].
    TooLarge,
    /// With those before it, it is over [`OCTETS_MAX`].
    TooMuch,
}

impl LeftOut {
    const ALL: [Self; 3] = [Self::TooMany, Self::TooLarge, Self::TooMuch];

    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::TooMuch => "too_much",
        }
    }
}

/// Which of these are kept, in their order: `None`, or why one is not. One that does not fit takes no room from those behind it.
pub fn judge(items: &[Item]) -> Vec<Option<LeftOut>> {
    let (mut kept, mut octets) = (0, 0);
    let verdict = |item: &Item| {
        let size = match &item.content {
            Content::Octets(octets) if octets.len() <= ITEM_OCTETS_MAX => octets.len(),
            Content::Octets(_) | Content::TooLarge(_) => return Some(LeftOut::TooLarge),
        };
        if kept == ITEMS_MAX {
            return Some(LeftOut::TooMany);
        }
        if octets + size > OCTETS_MAX {
            return Some(LeftOut::TooMuch);
        }
        kept += 1;
        octets += size;
        None
    };
    items.iter().map(verdict).collect()
}

/// An item as it is told with its message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its type, as [`content_type`] gives it.
    pub content_type: String,
    /// Its name, as [`name`] gives it.
    pub name: Option<String>,
    /// How large it is: octets.
    pub octets: u64,
    /// Whether it was kept.
    pub fate: Fate,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was kept; the SHA-256 of its octets.
    Kept([u8; 32]),
    /// It was not.
    LeftOut(LeftOut),
}

/// What kind of thing something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A film.
    Video,
    /// A card of a contact.
    Vcard,
    /// Plain text.
    Text,
    /// Anything else, and what would act on whoever opens it.
    Other,
}

impl Kind {
    /// The public word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Vcard => "vcard",
            Self::Text => "text",
            Self::Other => "other",
        }
    }
}

/// The types that are known, each inert in every program that opens it as what it is. Not among them, and so served as [`UNKNOWN`]:
/// pages, scripts, drawings in SVG, documents with macros.
const KNOWN: &[(Kind, &[&str])] = &[
    (
        Kind::Image,
        &[
            "image/avif",
            "image/bmp",
            "image/gif",
            "image/heic",
            "image/heif",
            "image/jpeg",
            "image/jpg",
            "image/png",
            "image/tiff",
            "image/vnd.wap.wbmp",
            "image/webp",
        ],
    ),
    (
        Kind::Audio,
        &[
            "audio/3gpp",
            "audio/3gpp2",
            "audio/aac",
            "audio/amr",
            "audio/amr-wb",
            "audio/basic",
            "audio/evrc",
            "audio/midi",
            "audio/mp3",
            "audio/mp4",
            "audio/mpeg",
            "audio/ogg",
            "audio/qcelp",
            "audio/wav",
            "audio/webm",
            "audio/x-m4a",
            "audio/x-wav",
        ],
    ),
    (
        Kind::Video,
        &[
            "video/3gpp",
            "video/3gpp2",
            "video/h263",
            "video/h264",
            "video/mp4",
            "video/mpeg",
            "video/ogg",
            "video/quicktime",
            "video/webm",
        ],
    ),
    (Kind::Vcard, &["text/directory", "text/vcard", "text/x-vcard"]),
    (Kind::Text, &["text/plain"]),
];

/// The kind of this type, and the type that it is given out as.
fn known(content_type: &str) -> Option<(Kind, &'static str)> {
    KNOWN.iter().find_map(|(kind, types)| {
        types.iter().find(|known| **known == content_type).map(|known| (*kind, *known))
    })
}

/// What kind of thing has this type, which [`content_type`] gave.
pub fn kind(content_type: &str) -> Kind {
    known(content_type).map_or(Kind::Other, |(kind, _)| kind)
}

/// The type as which octets of this type are given out: what is not known, or would act, is [`UNKNOWN`].
pub fn served_as(content_type: &str) -> &'static str {
    known(content_type).map_or(UNKNOWN, |(_, content_type)| content_type)
}

/// The type that is called so: in small letters, without parameters. What is no name of a type is [`UNKNOWN`].
pub fn content_type(said: &str) -> String {
    let bare = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&octet))
    };
    let is_type = bare.len() <= TYPE_MAX
        && bare.split_once('/').is_some_and(|(kind, below)| is_word(kind) && is_word(below));
    if is_type { bare } else { UNKNOWN.to_owned() }
}

/// The name that is shown for one that is called so: the last word of a path, without characters that act or turn the order of what
/// stands beside them, without dots and spaces around it, and not long. `None` if nothing is left.
pub fn name(said: &str) -> Option<String> {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    let acts = |c: char| is_active(c) || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{FFFD}');
    let shown: String = last.chars().filter(|c| !acts(*c)).collect();
    let shown = shown.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if shown.is_empty() {
        return None;
    }
    let characters = shown.chars().count();
    if characters <= NAME_MAX {
        return Some(shown.to_owned());
    }
    let extension = shown.rfind('.').map_or("", |dot| &shown[dot..]);
    let extension = if extension.chars().count() <= EXTENSION_MAX { extension } else { "" };
    let kept = NAME_MAX - extension.chars().count();
    let short: String = shown.chars().take(kept).chain(extension.chars()).collect();
    Some(short.trim_end_matches(|c: char| c == '.' || c.is_whitespace()).to_owned())
}

/// All that came with a message in one text, as a store keeps it beside the message: a line for each. `None` for nothing.
pub fn noted(all: &[Listed]) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(all.len() * 120);
    for item in all {
        let _ = write!(text, "{} {} ", item.content_type, item.octets);
        match &item.fate {
            Fate::Kept(hash) => text.push_str(&hexadecimal(hash)),
            Fate::LeftOut(why) => text.push_str(why.as_str()),
        }
        if let Some(name) = &item.name {
            text.push(' ');
            text.push_str(name);
        }
        text.push('\n');
    }
    Some(text)
}

/// Reads what [`noted`] wrote. `None` for what it cannot have written.
pub fn read_noted(text: &str) -> Option<Vec<Listed>> {
    let line = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let (content_type, octets, fate) = (words.next()?, words.next()?, words.next()?);
        let left_out = LeftOut::ALL.into_iter().find(|why| why.as_str() == fate);
        Some(Listed {
            content_type: content_type.to_owned(),
            name: words.next().map(str::to_owned),
            octets: octets.parse().ok()?,
            fate: match left_out {
                Some(why) => Fate::LeftOut(why),
                None => Fate::Kept(read_hash(fate)?),
            },
        })
    };
    text.split_terminator('\n').map(line).collect()
}

fn read_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, digits) in hash.iter_mut().zip(0..) {
        *octet = u8::from_str_radix(text.get(2 * digits..2 * digits + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(octets: usize) -> Item {
        Item {
            content_type: "image/png".into(),
            name: None,
            content: Content::Octets(vec![0; octets].into()),
        }
    }

    #[test]
    fn what_is_over_a_bound_is_left_out_and_takes_no_room() {
        use LeftOut::*;
        let check = |items: &[Item], expected: &[Option<LeftOut>]| assert_eq!(judge(items), expected);
        const MIB: usize = 1 << 20;
        check(&[], &[]);
        check(&[item(0), item(ITEM_OCTETS_MAX), item(ITEM_OCTETS_MAX)], &[None, None, None]);
        check(&[item(ITEM_OCTETS_MAX + 1), item(1)], &[Some(TooLarge), None]);
        let unread = Item { content: Content::TooLarge(70 << 20), ..item(0) };
        check(&[unread.clone(), item(1)], &[Some(TooLarge), None]);
        // The third does not fit, a smaller one behind it does.
        check(
            &[item(4 * MIB), item(4 * MIB), item(4 * MIB), item(2 * MIB), item(1)],
            &[None, None, Some(TooMuch), None, Some(TooMuch)],
        );
        let mut many = vec![unread];
        many.extend(vec![item(1); ITEMS_MAX + 2]);
        let mut expected = vec![Some(TooLarge)];
        expected.extend(vec![None; ITEMS_MAX]);
        expected.extend([Some(TooMany); 2]);
        check(&many, &expected);
    }

    #[test]
    fn a_type_is_read_and_what_would_act_is_given_out_as_octets() {
        let check = |said: &str, read: &str, of_kind: Kind, served: &str| {
            let found = content_type(said);
            assert_eq!((found.as_str(), kind(&found), served_as(&found)), (read, of_kind, served), "{said}");
        };
        check("image/jpeg", "image/jpeg", Kind::Image, "image/jpeg");
        check(" Image/PNG; name=\"x.png\"", "image/png", Kind::Image, "image/png");
        check("audio/amr", "audio/amr", Kind::Audio, "audio/amr");
        check("video/3gpp", "video/3gpp", Kind::Video, "video/3gpp");
        check("text/x-vCard;charset=utf-8", "text/x-vcard", Kind::Vcard, "text/x-vcard");
        check("text/plain", "text/plain", Kind::Text, "text/plain");
        for active in [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "application/javascript",
            "text/javascript",
            "text/xml",
            "application/xml",
            "text/css",
            "application/pdf",
            "application/x-shockwave-flash",
            "multipart/x-mixed-replace",
            "application/smil",
            "image/x-unheard-of",
        ] {
            check(active, active, Kind::Other, UNKNOWN);
        }
        let long = format!("image/{}", "x".repeat(TYPE_MAX));
        for no_type in [
            "",
            "image",
            "image/",
            "/png",
            "a/b/c",
            "image/png\r\nX: y",
            "image /png",
            "imag\u{e9}/png",
            &long,
        ] {
            check(no_type, UNKNOWN, Kind::Other, UNKNOWN);
        }
    }

    #[test]
    fn a_name_is_a_word_and_no_place_and_does_nothing() {
        let check =
            |said: &str, expected: Option<&str>| assert_eq!(name(said).as_deref(), expected, "{said:?}");
        check("photo.jpg", Some("photo.jpg"));
        check("Bild från Åre 👍.jpg", Some("Bild från Åre 👍.jpg"));
        check("../../etc/passwd", Some("passwd"));
        check("C:\\Users\\x\\photo.jpg", Some("photo.jpg"));
        check("photo\u{202E}gpj.exe", Some("photogpj.exe"));
        check("a\r\nb\0\u{1B}[2J\u{200F}\u{200B}.png", Some("ab[2J.png"));
        check(".htaccess", Some("htaccess"));
        check(" a b. ", Some("a b"));
        for nothing in ["", " ", "..", "/", "a/", "\u{202E}", "\n"] {
            check(nothing, None);
        }
        let long = name(&format!("{}.jpeg", "x".repeat(300))).expect("something is left");
        assert_eq!((long.chars().count(), long.ends_with("xx.jpeg")), (NAME_MAX, true));
        let no_end = name(&format!("x.{}", "y".repeat(300))).expect("something is left");
        assert_eq!(no_end.chars().count(), NAME_MAX);
    }

    proptest! {
        #[test]
        fn what_is_noted_is_read_again(
            all in prop::collection::vec((".{0,40}", prop::option::of(".{0,140}"), any::<u64>(), 0_usize..4, any::<[u8; 32]>()), 0..5),
        ) {
            let all: Vec<Listed> = all
                .into_iter()
                .map(|(said, named, octets, fate, hash)| Listed {
                    content_type: content_type(&said),
                    name: named.as_deref().and_then(name),
                    octets,
                    fate: LeftOut::ALL.get(fate).map_or(Fate::Kept(hash), |why| Fate::LeftOut(*why)),
                })
                .collect();
            prop_assert_eq!(read_noted(&noted(&all).unwrap_or_default()), Some(all));
        }

        #[test]
        fn no_name_gets_out_of_its_place(said in any::<String>()) {
            if let Some(name) = name(&said) {
                prop_assert!(!name.is_empty() && name.chars().count() <= NAME_MAX);
                prop_assert!(!name.contains(['/', '\\', '\r', '\n', '\0']) && name != ".." && name != ".");
                prop_assert_eq!(super::name(&name), Some(name));
            }
        }
    }

    #[test]
    fn what_nobody_wrote_is_not_read() {
        for text in [
            "image/png",
            "image/png 5",
            "image/png x too_many",
            "image/png 5 0123",
            "image/png 5 what a.png",
            "\n",
        ] {
            assert_eq!(read_noted(text), None, "{text:?}");
        }
        let hash = "0f".repeat(32);
        let read = read_noted(&format!("image/png 5 {hash} a b.png\ntext/plain 9 too_large\n"));
        assert_eq!(read.map(|all| all.len()), Some(2));
    }
}
