//! Refuses requests whose end two readers would find in different places.
//!
//! The parser behind this one is lenient where RFC 9112 allows it: it takes a line that ends without a carriage
//! return, and a request with both `Content-Length` and `Transfer-Encoding`. A proxy in front may read those the other
//! way, and then one client's body becomes the next client's request. So this follows the octets of a connection from
//! head to body to head, and when a head is ambiguous it spoils one octet of it, before the parser sees it: the parser
//! answers 400 and closes. The octets of bodies are never touched. It holds a few numbers and no text.

/// What is put in the place of an octet that must not be read as a line's end: allowed nowhere in a head.
const SPOILED: u8 = 0;
/// The longest name that matters is `transfer-encoding`; one octet more tells a longer one apart.
const NAME_OCTETS: usize = 18;

/// Where in the stream of requests a connection is.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// The octet before was a carriage return.
    returned: bool,
    /// Octets of the current line, without its end.
    line_octets: usize,
    head: Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a head, or before one.
    Head,
    /// In a body, with so many octets to come.
    Body(u64),
    /// In the line that gives a chunk's size.
    ChunkSize { size: u64, digits: bool },
    /// In a chunk, or in the line end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailer,
    /// In a request that is refused. Nothing behind it will be read.
    Refused,
}

/// What is known of the head that is being read.
#[derive(Debug, Default)]
struct Head {
    /// Past the request line.
    fields: bool,
    name: [u8; NAME_OCTETS],
    /// Octets of the name; `None` when past it.
    name_octets: Option<usize>,
    is_length: bool,
    value: u64,
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    pub fn new() -> Self {
        Self { at: At::Head, returned: false, line_octets: 0, head: Head::default() }
    }

    /// Whether a head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.at == At::Head && (self.head.fields || self.line_octets > 0)
    }

    /// Follows these octets, the next of the connection.
    pub fn read(&mut self, mut octets: &mut [u8]) {
        while !octets.is_empty() {
            let mut whole = 1;
            match self.at {
                At::Head => match self.unread(octets) {
                    0 => self.in_head_at(&mut octets[0]),
                    plain => {
                        self.line_octets += plain;
                        whole = plain;
                    }
                },
                At::ChunkSize { size, digits } => self.in_size_at(octets[0], size, digits),
                At::Trailer => self.in_trailer_at(octets[0]),
                At::Body(left) | At::Chunk(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX);
                    whole = octets.len().min(most);
                    self.skip(whole as u64);
                }
                At::Refused => return,
            }
            octets = &mut octets[whole..];
        }
    }

    /// Octets of a head, from here on, of which nothing matters but how many there are: those of the request line and of most
    /// values, up to the end of their line.
    fn unread(&self, octets: &[u8]) -> usize {
        let in_value = self.head.name_octets.is_none() && !self.head.is_length;
        if self.returned || (self.head.fields && !in_value) {
            return 0;
        }
        octets.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(octets.len())
    }

    fn in_head_at(&mut self, octet: &mut u8) {
        match (*octet, self.returned) {
            (b'\n', true) => {
                self.returned = false;
                if !self.line_ended() {
                    self.refuse(octet);
                }
            }
            (b'\r', false) => self.returned = true,
            // A line feed alone, or a carriage return alone.
            (b'\n', false) | (_, true) => self.refuse(octet),
            (other, false) => {
                self.line_octets += 1;
                if self.head.fields {
                    self.head.field_at(other);
                }
            }
        }
    }

    fn refuse(&mut self, octet: &mut u8) {
        *octet = SPOILED;
        self.at = At::Refused;
    }

    /// At the end of a line of a head; `false` if the head is ambiguous now.
    fn line_ended(&mut self) -> bool {
        let empty = std::mem::take(&mut self.line_octets) == 0;
        match (self.head.fields, empty) {
            // Empty lines before a request are skipped (RFC 9112 §2.2).
            (false, true) => {}
            (false, false) => self.head.fields = true,
            (true, false) => self.head.field_ended(),
            (true, true) => {
                let Head { chunked, length, .. } = std::mem::take(&mut self.head);
                self.at = match (chunked, length) {
                    (true, _) => At::ChunkSize { size: 0, digits: true },
                    (false, Some(length @ 1..)) => At::Body(length),
                    (false, _) => At::Head,
                };
            }
        }
        self.head.name_octets = Some(0);
        !(self.head.chunked && self.head.length.is_some())
    }

    fn skip(&mut self, octets: u64) {
        self.at = match self.at {
            At::Body(left) if left > octets => At::Body(left - octets),
            At::Body(_) => At::Head,
            At::Chunk(left) if left > octets => At::Chunk(left - octets),
            _ => At::ChunkSize { size: 0, digits: true },
        };
    }

    fn in_size_at(&mut self, octet: u8, size: u64, digits: bool) {
        self.at = match (octet, char::from(octet).to_digit(16)) {
            // The line end behind a chunk is part of it.
            (b'\n', _) if size > 0 => At::Chunk(size.saturating_add(2)),
            (b'\n', _) => At::Trailer,
            (_, Some(digit)) if digits => {
                At::ChunkSize { size: size.saturating_mul(16).saturating_add(digit.into()), digits }
            }
            // An extension: what is a digit in it is no part of the size.
            _ => At::ChunkSize { size, digits: false },
        };
    }

    fn in_trailer_at(&mut self, octet: u8) {
        if octet == b'\n' && self.returned {
            self.returned = false;
            if std::mem::take(&mut self.line_octets) == 0 {
                self.at = At::Head;
            }
            return;
        }
        self.returned = octet == b'\r';
        self.line_octets += usize::from(!self.returned);
    }
}

impl Head {
    fn field_at(&mut self, octet: u8) {
        match self.name_octets {
            Some(octets) if octet == b':' => {
                self.is_length = self.name[..octets].eq_ignore_ascii_case(b"content-length");
                self.chunked |= self.name[..octets].eq_ignore_ascii_case(b"transfer-encoding");
                self.name_octets = None;
                self.value = 0;
            }
            Some(octets) => {
                self.name[octets.min(NAME_OCTETS - 1)] = octet;
                self.name_octets = Some((octets + 1).min(NAME_OCTETS));
            }
            // What is no digit makes the parser refuse the head.
            None if self.is_length && octet.is_ascii_digit() => {
                self.value = self.value.saturating_mul(10).saturating_add(u64::from(octet - b'0'));
            }
            None => {}
        }
    }

    fn field_ended(&mut self) {
        if std::mem::take(&mut self.is_length) && self.name_octets.is_none() {
            self.length = Some(self.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the octets when they come cut at these places; and whether a head is open at the end.
    fn read(octets: &[u8], cuts: &[usize]) -> (Vec<u8>, bool) {
        let (mut all, mut framing, mut from) = (octets.to_vec(), Framing::new(), 0);
        for &cut in cuts.iter().chain([&octets.len()]) {
            framing.read(&mut all[from..cut]);
            from = cut;
        }
        let open = framing.in_head();
        (all, open)
    }

    #[test]
    fn what_has_one_meaning_passes_untouched_and_what_has_two_is_spoiled() {
        for (stream, passes) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\nA: b\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", true),
            (
                "POST / HTTP/1.1\r\nX-Transfer-Encoding: a\r\ncontent-length: 2\r\nContent-Length2: 9\r\n\r\na\n",
                true,
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                true,
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA;e=1f\r\n0123\n67\r\n9\r\n0;x\r\nT: u\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                true,
            ),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", false),
            ("\nGET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\n\r\n", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\n\r\n", false),
        ] {
            let (whole, _) = read(stream.as_bytes(), &[]);
            assert_eq!(whole == stream.as_bytes(), passes, "{stream:?}");
            assert_eq!(
                whole.iter().filter(|octet| **octet == SPOILED).count(),
                usize::from(!passes),
                "{stream:?}"
            );
            for cut in 0..stream.len() {
                assert_eq!(read(stream.as_bytes(), &[cut]).0, whole, "{stream:?} cut at {cut}");
            }
            let each: Vec<usize> = (0..stream.len()).collect();
            assert_eq!(read(stream.as_bytes(), &each).0, whole, "{stream:?} octet by octet");
        }
    }

    #[test]
    fn a_head_is_open_from_its_first_octet_to_its_last() {
        for (stream, open) in [
            ("", false),
            ("\r\n", false),
            ("G", true),
            ("GET / HTTP/1.1\r\n", true),
            ("GET / HTTP/1.1\r\n\r", true),
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", false),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcP", true),
        ] {
            assert_eq!(read(stream.as_bytes(), &[]).1, open, "{stream:?}");
        }
    }
}
