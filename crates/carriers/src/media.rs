//! Media for the simulated carrier: those that people of the script answer with, and files of the operator's own.

use crate::{Error, read_file};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_domain::media::{Content, ITEM_OCTETS_MAX, Item, UNKNOWN};

/// Files that may be named.
const FILES_MAX: usize = 100;

/// A picture of one dot.
const PICTURE: &[u8] = &[
    0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53, 0xDE, 0x00,
    0x00, 0x00, 0x0C, 0x49, 0x44, 0x41, 0x54, 0x78, 0xDA, 0x63, 0xB8, 0xE0, 0x60, 0x00, 0x00, 0x03, 0x24,
    0x01, 0x41, 0x71, 0x31, 0x14, 0xDD, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60,
    0x82,
];
const PAGE: &[u8] = b"<!doctype html><title>A page</title><script>alert('It must not run.')</script>\n";
const DRAWING: &[u8] =
    b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert('It must not run.')</script></svg>\n";
const CARD: &[u8] =
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Maya Example\r\nN:Example;Maya;;;\r\nTEL:+15550002222\r\nEND:VCARD\r\n";

/// What a person of the script answers with: the words, and the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A picture and words.
    Picture,
    /// A picture without words.
    OnlyPicture,
    /// A picture, and STOP.
    PictureAndStop,
    /// A page, which would act if it were opened.
    Page,
    /// A drawing that would act, and says that it belongs somewhere else.
    Drawing,
    /// The card of a contact.
    Card,
    /// A picture that is too large, and one that is not.
    TooLarge,
    /// More pictures than are kept.
    TooMany,
}

impl Sample {
    /// The one that the script gives this number.
    pub const fn numbered(n: u32) -> Self {
        match n {
            2 => Self::OnlyPicture,
            3 => Self::PictureAndStop,
            4 => Self::Page,
            5 => Self::Drawing,
            6 => Self::Card,
            7 => Self::TooLarge,
            8 => Self::TooMany,
            _ => Self::Picture,
        }
    }

    /// What is written beside it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OnlyPicture | Self::Card => "",
            Self::PictureAndStop => "STOP",
            _ => "Look at this",
        }
    }

    /// The media.
    pub fn items(self) -> Vec<Item> {
        let item = |content_type: &str, name: &str, octets: &[u8]| Item {
            content_type: content_type.to_owned(),
            name: Some(name.to_owned()),
            content: Content::Octets(octets.into()),
        };
        let picture = || item("image/png", "photo.png", PICTURE);
        match self {
            Self::Picture | Self::OnlyPicture | Self::PictureAndStop => vec![picture()],
            Self::Page => vec![item("text/html; charset=utf-8", "page.html", PAGE)],
            Self::Drawing => vec![item("image/svg+xml", "..\\..\\photo\u{202E}gnp.svg", DRAWING)],
            Self::Card => vec![item("text/x-vcard", "Maya.vcf", CARD)],
            Self::TooLarge => {
                let unread = Content::TooLarge(ITEM_OCTETS_MAX as u64 + 1);
                vec![Item { content: unread, ..item("image/png", "large.png", &[]) }, picture()]
            }
            Self::TooMany => {
                (1..=12).map(|n| item("image/png", &format!("photo {n}.png"), PICTURE)).collect()
            }
        }
    }
}

/// The types of files, by the ends of their names.
const TYPES: &[(&str, &str)] = &[
    ("3gp", "video/3gpp"),
    ("amr", "audio/amr"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("m4a", "audio/mp4"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("vcf", "text/vcard"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];

/// Reads files of the operator's own. What is too large is not read: people are told so as they would be of a stranger's.
///
/// # Errors
/// One cannot be read, or there are too many.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Item>, Error> {
    if paths.len() > FILES_MAX {
        return Err(Error(format!("media names {} files, but may name {FILES_MAX}", paths.len())));
    }
    paths.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<Item, Error> {
    let known =
        std::fs::metadata(path).map_err(|error| Error(format!("cannot read {}: {error}", path.display())))?;
    let is_large = known.len() > ITEM_OCTETS_MAX as u64;
    let content =
        if is_large { Content::TooLarge(known.len()) } else { Content::Octets(Arc::from(read_file(path)?)) };
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let content_type = TYPES.iter().find(|(known, _)| *known == end).map_or(UNKNOWN, |(_, of_it)| of_it);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Item { content_type: content_type.to_owned(), name, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::media::{Kind, LeftOut, content_type, judge, kind};

    #[test]
    fn the_samples_are_what_they_say() {
        let verdicts = |sample: Sample| judge(&sample.items());
        assert_eq!(verdicts(Sample::Picture), [None]);
        assert_eq!(verdicts(Sample::TooLarge), [Some(LeftOut::TooLarge), None]);
        assert_eq!(verdicts(Sample::TooMany)[9..], [None, Some(LeftOut::TooMany), Some(LeftOut::TooMany)]);
        let of_kind = |sample: Sample| kind(&content_type(&sample.items()[0].content_type));
        assert_eq!(
            [Sample::Picture, Sample::Page, Sample::Drawing, Sample::Card].map(of_kind),
            [Kind::Image, Kind::Other, Kind::Other, Kind::Vcard]
        );
    }

    #[test]
    fn a_file_is_what_the_end_of_its_name_says() {
        let directory = std::env::temp_dir().join(format!("tidings-media-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (photo, odd) = (directory.join("Photo.JPG"), directory.join("odd"));
        std::fs::write(&photo, b"abc").expect("written");
        std::fs::write(&odd, b"").expect("written");
        let items = read(&[photo.clone(), odd]).expect("read");
        let types: Vec<&str> = items.iter().map(|item| item.content_type.as_str()).collect();
        assert_eq!((types, items[0].name.as_deref()), (vec!["image/jpeg", UNKNOWN], Some("Photo.JPG")));
        assert!(read(&[directory.join("none.png")]).is_err());
        assert!(read(&vec![photo; FILES_MAX + 1]).is_err());
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
