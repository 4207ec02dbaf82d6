//! Where a request may go: a URL parsed once, at the door, into a value that later code trusts.
//!
//! A URL that two readers understand differently is how a checked host and a called host come apart. So there is one
//! reader, it is stricter than a browser, and what is called later is built from its result and never from the text
//! again. Every spelling of an IP address that some library would accept (`0x7f.1`, `2130706433`, `0177.0.0.1`,
//! `[::ffff:127.0.0.1]`) is read as the address it is and judged as such.
//!
//! It does no IO: that a name resolves to addresses which may be called is found out when connecting, each time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::address::NotPublic;
use crate::policy::Policy;

/// The longest URL, in bytes: what common servers and proxies take.
pub const URL_BYTES_MAX: usize = 2_048;
/// The longest host name, in bytes, without a trailing dot (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// The longest label of a host name, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Last labels that never lead out of a network (RFC 6761, RFC 6762, RFC 7686, RFC 8375 and common habit).
const LOCAL_SUFFIXES: [&str; 14] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "onion",
    "test",
    "invalid",
    "example",
];

/// A URL that may be called under the policy it was parsed with. Cheap to clone.
///
/// `Debug` shows scheme, host and port only: path and query of a webhook often hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    origin: Arc<Origin>,
    path_and_query: PathAndQuery,
}

/// Scheme, host and port: what a connection is opened to and kept for.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The `host` header: canonical host, and the port if it isn't the scheme's own.
    pub(crate) host_header: HeaderValue,
}

/// Clear text or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http:`, clear text, port 80.
    Http,
    /// `https:`, TLS, port 443.
    Https,
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address, however the URL spelled it.
    Address(IpAddr),
    /// A lower-case ASCII host name without a trailing dot; to be resolved.
    Name(String),
}

/// Why a URL may not be called. Each has a stable [`word`](Self::word) and, by `Display`, a sentence for the customer
/// that repeats nothing of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RefusedTarget {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("The URL is longer than {URL_BYTES_MAX} bytes.")]
    TooLong,
    /// Letters outside ASCII. A name in another script is to be written in its `xn--` form.
    #[error(
        "The URL has characters outside ASCII; write such a host name in its xn-- form and percent-encode the rest."
    )]
    NotAscii,
    /// White space, a control character or a backslash.
    #[error("The URL has a space, a control character or a backslash.")]
    BadCharacter,
    /// Not of the form `https://host/path`.
    #[error("This is not an absolute URL of the form https://host/path.")]
    NotAbsolute,
    /// Neither `https` nor `http`.
    #[error("Only https URLs can be called.")]
    Scheme,
    /// `http`, and the policy doesn't allow it.
    #[error("The URL must be https; clear-text http is not allowed here.")]
    ClearText,
    /// User name or password before the host.
    #[error("The URL must not contain a user name or password.")]
    Credentials,
    /// A fragment, which would never reach the receiver.
    #[error("The URL must not contain a fragment (#…); it would never be sent.")]
    Fragment,
    /// Nothing where the host should be.
    #[error("The URL has no host.")]
    NoHost,
    /// A host name with empty, too long or otherwise impossible labels.
    #[error("The host name is not valid.")]
    BadName,
    /// A host name that ends in a dot.
    #[error("The host name must not end in a dot.")]
    TrailingDot,
    /// Something that starts like an IP address and isn't one.
    #[error("The host looks like an IP address but is not a valid one.")]
    BadAddress,
    /// An IPv6 address with a zone (`%eth0`).
    #[error("The IPv6 address must not name a zone.")]
    Zone,
    /// A name that only means something inside a network, such as `localhost` or `printer.local`.
    #[error("The host name is local to a network; a public host name is needed.")]
    LocalName,
    /// Not a number from 1 to 65535.
    #[error("The port is not a number from 1 to 65535.")]
    BadPort,
    /// A port the policy doesn't allow.
    #[error("Port {0} must not be called; use 443.")]
    Port(u16),
    /// The URL names an address that isn't public.
    #[error("The URL leads to an address that {0}.")]
    Address(NotPublic),
    /// The host name resolves, possibly beside others, to an address that isn't public.
    #[error("The host name leads to an address that {0}.")]
    ResolvesTo(NotPublic),
    /// An address of this installation itself.
    #[error("The URL leads back to this installation.")]
    OwnAddress,
}

impl RefusedTarget {
    /// The stable word for logs, metrics, stored attempts and the field errors of the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotAscii => "not_ascii",
            Self::BadCharacter => "bad_character",
            Self::NotAbsolute => "not_absolute",
            Self::Scheme => "scheme",
            Self::ClearText => "clear_text",
            Self::Credentials => "credentials",
            Self::Fragment => "fragment",
            Self::NoHost => "no_host",
            Self::BadName => "bad_name",
            Self::TrailingDot => "trailing_dot",
            Self::BadAddress => "bad_address",
            Self::Zone => "zone",
            Self::LocalName => "local_name",
            Self::BadPort => "bad_port",
            Self::Port(_) => "port",
            Self::Address(_) => "address_not_public",
            Self::ResolvesTo(_) => "resolves_to_not_public",
            Self::OwnAddress => "own_address",
        }
    }
}

impl Target {
    /// Reads `url` and checks everything that can be known without asking anybody.
    ///
    /// # Errors
    /// The first reason found, in the order length, characters, scheme, user name, host, address, port, fragment.
    pub fn parse(url: &str, policy: &Policy) -> Result<Self, RefusedTarget> {
        if url.len() > URL_BYTES_MAX {
            return Err(RefusedTarget::TooLong);
        }
        if !url.is_ascii() {
            return Err(RefusedTarget::NotAscii);
        }
        // A browser drops tabs and newlines and reads a backslash as a slash; a reader that doesn't sees another host.
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return Err(RefusedTarget::BadCharacter);
        }
        let (scheme, rest) = url.split_once(':').ok_or(RefusedTarget::NotAbsolute)?;
        let scheme = parse_scheme(scheme)?;
        let rest = rest.strip_prefix("//").ok_or(RefusedTarget::NotAbsolute)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(RefusedTarget::Credentials);
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(scheme.port());
        let host = parse_host(host, policy)?;
        let origin = Origin::new(scheme, host, port);
        origin.check(policy)?;
        if rest.contains('#') {
            return Err(RefusedTarget::Fragment);
        }
        let path_and_query = match rest.strip_prefix('?') {
            Some(_) => PathAndQuery::try_from(format!("/{rest}")),
            None if rest.is_empty() => Ok(PathAndQuery::from_static("/")),
            None => PathAndQuery::try_from(rest),
        };
        let path_and_query = path_and_query.map_err(|_| RefusedTarget::BadCharacter)?;
        Ok(Self { origin: Arc::new(origin), path_and_query })
    }

    /// Clear text or TLS.
    pub fn scheme(&self) -> Scheme {
        self.origin.scheme
    }

    /// Who is called.
    pub fn host(&self) -> &Host {
        &self.origin.host
    }

    /// The port that is called, from 1.
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// What is asked for there. May hold a secret.
    pub fn path_and_query(&self) -> &str {
        self.path_and_query.as_str()
    }

    /// Scheme, host and port, without the parts that may hold a secret: for logs and lists.
    pub fn origin(&self) -> String {
        let host = self.origin.host_header.to_str().expect("a host header was built from ASCII");
        format!("{}://{host}", self.origin.scheme)
    }

    pub(crate) fn shared_origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub(crate) fn request_uri(&self) -> http::Uri {
        http::Uri::from(self.path_and_query.clone())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}/•••)", self.origin())
    }
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Origin {
    fn new(scheme: Scheme, host: Host, port: u16) -> Self {
        let text = if port == scheme.port() { host.to_string() } else { format!("{host}:{port}") };
        let host_header = HeaderValue::try_from(text).expect("a parsed host is visible ASCII");
        Self { scheme, host, port, host_header }
    }

    /// What a policy says about it before any name is resolved. Asked again before each request, since a target may
    /// have been parsed under another policy.
    pub(crate) fn check(&self, policy: &Policy) -> Result<(), RefusedTarget> {
        if self.scheme == Scheme::Http && !policy.allow_http {
            return Err(RefusedTarget::ClearText);
        }
        match &self.host {
            Host::Address(address) => policy.permits_address(*address)?,
            Host::Name(name) => permits_name(name, policy)?,
        }
        policy.permits_port(self.port)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.port == other.port && self.host == other.host
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scheme.hash(state);
        self.port.hash(state);
        self.host.hash(state);
    }
}

fn parse_scheme(text: &str) -> Result<Scheme, RefusedTarget> {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic());
    if !starts_well || text.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')) {
        return Err(RefusedTarget::NotAbsolute);
    }
    match text.to_ascii_lowercase().as_str() {
        "https" => Ok(Scheme::Https),
        "http" => Ok(Scheme::Http),
        // `example.com:443/hook`: somebody forgot the scheme.
        other if other.contains('.') || other == "localhost" => Err(RefusedTarget::NotAbsolute),
        _ => Err(RefusedTarget::Scheme),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), RefusedTarget> {
    // Inside brackets a colon belongs to the address; two without brackets are an IPv6 address that lacks them.
    let after_host = match authority.strip_prefix('[') {
        Some(inside) => inside.find(']').ok_or(RefusedTarget::BadAddress)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(after_host);
    if port.matches(':').count() > 1 {
        return Err(RefusedTarget::BadAddress);
    }
    if host.is_empty() {
        return Err(RefusedTarget::NoHost);
    }
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').ok_or(RefusedTarget::BadAddress)?;
    if digits.is_empty() || digits.bytes().any(|byte| !byte.is_ascii_digit()) {
        return Err(RefusedTarget::BadPort);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(RefusedTarget::BadPort),
        Ok(port) => Ok((host, Some(port))),
    }
}

fn parse_host(text: &str, policy: &Policy) -> Result<Host, RefusedTarget> {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        if inside.contains('%') {
            return Err(RefusedTarget::Zone);
        }
        let address: Ipv6Addr = inside.parse().map_err(|_| RefusedTarget::BadAddress)?;
        return Ok(Host::Address(crate::address::unmapped(address.into())));
    }
    let without_dot = text.strip_suffix('.').unwrap_or(text);
    if ends_in_a_number(without_dot) {
        let address = parse_ipv4(without_dot).ok_or(RefusedTarget::BadAddress)?;
        // Judged first: "leads to this machine" says more than "ends in a dot".
        policy.permits_address(address.into())?;
        if text.ends_with('.') {
            return Err(RefusedTarget::TrailingDot);
        }
        return Ok(Host::Address(address.into()));
    }
    let name = without_dot.to_ascii_lowercase();
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err(RefusedTarget::BadName);
    }
    permits_name(&name, policy)?;
    if text.ends_with('.') {
        return Err(RefusedTarget::TrailingDot);
    }
    Ok(Host::Name(name))
}

/// Host names in use have underscores too, though RFC 1123 §2.1 doesn't.
fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Local names are refused by name too, so that the customer hears it when the URL is entered and no resolver is
/// asked. What protects us is the judgement over the addresses.
fn permits_name(name: &str, policy: &Policy) -> Result<(), RefusedTarget> {
    let under = |suffix: &str| {
        name.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let permitted = match () {
        () if under("localhost") => policy.allow_loopback,
        () if !name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| under(suffix)) => {
            !policy.allow_blocks.is_empty()
        }
        () => true,
    };
    if permitted { Ok(()) } else { Err(RefusedTarget::LocalName) }
}

/// A host whose last label is a number is an IPv4 address or nothing: no top-level domain is a number, and libraries
/// try such text as an address.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Reads an IPv4 address as `inet_aton` does: one to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`);
/// the last part fills what is left.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(parse_ipv4_part).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let room_bits = 32 - 8 * u32::try_from(leading.len()).expect("at most three");
    if room_bits < 32 && *last >> room_bits != 0 {
        return None;
    }
    let mut address = *last;
    for (place, part) in leading.iter().enumerate() {
        address |= part << (24 - 8 * place);
    }
    Some(Ipv4Addr::from(address))
}

fn parse_ipv4_part(part: &str) -> Option<u32> {
    let (digits, radix) = match part.as_bytes() {
        [] => return None,
        [b'0', b'x' | b'X', ..] => (&part[2..], 16),
        [b'0', _, ..] => (&part[1..], 8),
        _ => (part, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    // `0x` alone is zero for the URL standard.
    if digits.is_empty() { Some(0) } else { u32::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Ports;

    /// Everything that only a name, an address or a form can be refused for.
    fn any_port() -> Policy {
        Policy { allow_http: true, ports: Ports::Any, ..Policy::strict() }
    }

    #[test]
    fn a_good_url_is_read_once_into_what_will_be_called() {
        let long_label = "a".repeat(63);
        let cases = [
            ("https://example.com", "https://example.com", 443, "/"),
            ("https://example.com/", "https://example.com", 443, "/"),
            ("HTTPS://Hooks.Example.COM/A/b?C=d", "https://hooks.example.com", 443, "/A/b?C=d"),
            ("https://example.com:443/x", "https://example.com", 443, "/x"),
            ("https://example.com:8443/x", "https://example.com:8443", 8443, "/x"),
            ("https://example.com?a=b", "https://example.com", 443, "/?a=b"),
            ("https://example.com/a@b:c", "https://example.com", 443, "/a@b:c"),
            (
                "https://example.com/?next=http://127.0.0.1/",
                "https://example.com",
                443,
                "/?next=http://127.0.0.1/",
            ),
            ("https://xn--bcher-kva.de/x", "https://xn--bcher-kva.de", 443, "/x"),
            ("https://my_hooks.example.com/", "https://my_hooks.example.com", 443, "/"),
            ("https://1.1.1.1/x", "https://1.1.1.1", 443, "/x"),
            ("https://0x08080808/x", "https://8.8.8.8", 443, "/x"),
            ("https://8.8.2056/x", "https://8.8.8.8", 443, "/x"),
            ("https://[2606:4700:4700:0:0::1111]:8443/x", "https://[2606:4700:4700::1111]:8443", 8443, "/x"),
            ("https://[::ffff:8.8.8.8]/x", "https://8.8.8.8", 443, "/x"),
            ("https://3com.com/x", "https://3com.com", 443, "/x"),
            (&format!("https://{long_label}.com/"), &format!("https://{long_label}.com"), 443, "/"),
        ];
        for (url, origin, port, path) in cases {
            let target =
                Target::parse(url, &Policy::strict()).unwrap_or_else(|refused| panic!("{url}: {refused:?}"));
            assert_eq!(
                (target.origin().as_str(), target.port(), target.path_and_query()),
                (origin, port, path)
            );
        }
    }

    #[test]
    fn a_bad_url_is_refused_for_a_reason_that_can_be_named() {
        use RefusedTarget::*;
        let too_long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        let long_label = format!("https://{}.com/", "a".repeat(64));
        let long_name = format!("https://{}com/", "abcdefg.".repeat(32));
        let cases: &[(&str, RefusedTarget)] = &[
            ("", NotAbsolute),
            ("https", NotAbsolute),
            ("/hook", NotAbsolute),
            ("//example.com/", NotAbsolute),
            ("https:/example.com/", NotAbsolute),
            ("https:example.com", NotAbsolute),
            ("example.com:443/x", NotAbsolute),
            ("://example.com", NotAbsolute),
            ("file:///etc/passwd", Scheme),
            ("gopher://example.com/", Scheme),
            ("ftp://example.com/", Scheme),
            ("unix:/run/docker.sock", Scheme),
            ("data:text/plain,x", Scheme),
            ("javascript:alert(1)", Scheme),
            ("ws://example.com/", Scheme),
            ("http://example.com/", ClearText),
            (" https://example.com/", BadCharacter),
            ("https://example.com/\r\nX: y", BadCharacter),
            ("https://exa\tmple.com/", BadCharacter),
            ("https://example.com\\@127.0.0.1/", BadCharacter),
            ("https:\\\\example.com/", BadCharacter),
            ("https://example.com/\0", BadCharacter),
            ("https://bücher.de/", NotAscii),
            ("https://①②⑦.⓪.⓪.①/", NotAscii),
            ("https://example。com/", NotAscii),
            ("https://user@example.com/", Credentials),
            ("https://user:secret@example.com/", Credentials),
            ("https://@example.com/", Credentials),
            ("https://example.com:443@127.0.0.1/", Credentials),
            ("https://example.com/#top", Fragment),
            ("https://example.com#@127.0.0.1/", Fragment),
            ("https://example.com/?a=b#", Fragment),
            ("https://", NoHost),
            ("https:///path", NoHost),
            ("https://:443/", NoHost),
            ("https://?x", NoHost),
            ("https://./", BadName),
            ("https://example..com/", BadName),
            ("https://.example.com/", BadName),
            ("https://-example.com/", BadName),
            ("https://example-.com/", BadName),
            ("https://exam%70le.com/", BadName),
            ("https://%31%32%37.0.0.%31/", BadName),
            ("https://127.0.0.1%00.example.com/", BadName),
            ("https://a,b.com/", BadName),
            ("https://$(x).com/", BadName),
            ("https://*.example.com/", BadName),
            ("https://example.com./", TrailingDot),
            ("https://8.8.8.8./", TrailingDot),
            ("https://example.com:/", BadPort),
            ("https://example.com:0/", BadPort),
            ("https://example.com:65536/", BadPort),
            ("https://example.com:+443/", BadPort),
            ("https://example.com:44x/", BadPort),
            ("https://example.com:25/", Port(25)),
            ("https://example.com:80/", Port(80)),
            ("https://example.com:6379/", Port(6379)),
            ("https://localhost/", LocalName),
            ("https://LOCALHOST/", LocalName),
            ("https://localhost./", LocalName),
            ("https://a.localhost/", LocalName),
            ("https://printer.local/", LocalName),
            ("https://metadata.google.internal/", LocalName),
            ("https://intranet/", LocalName),
            ("https://com/", LocalName),
            ("https://router.home.arpa/", LocalName),
            ("https://256.1.1.1/", BadAddress),
            ("https://1.1.1.256/", BadAddress),
            ("https://1.2.3.4.5/", BadAddress),
            ("https://4294967296/", BadAddress),
            ("https://08.8.8.8/", BadAddress),
            ("https://0x1g.1/", BadAddress),
            ("https://example.1/", BadAddress),
            ("https://1..1/", BadAddress),
            ("https://::1/", BadAddress),
            ("https://[::1/", BadAddress),
            ("https://[::1]x/", BadAddress),
            ("https://[127.0.0.1]/", BadAddress),
            ("https://[v1.x]/", BadAddress),
            ("https://[]/", BadAddress),
            ("https://[fe80::1%eth0]/", Zone),
            ("https://[fe80::1%25eth0]/", Zone),
            (&too_long, TooLong),
            (&long_label, BadName),
            (&long_name, BadName),
        ];
        for (url, expected) in cases {
            assert_eq!(Target::parse(url, &Policy::strict()).as_ref(), Err(expected), "{url}");
        }
    }

    #[test]
    fn an_address_is_recognised_in_every_spelling() {
        use NotPublic::*;
        let cases: &[(&str, NotPublic)] = &[
            ("127.0.0.1", Loopback),
            ("127.0.0.1.", Loopback),
            ("127.1", Loopback),
            ("127.0.1", Loopback),
            ("2130706433", Loopback),
            ("017700000001", Loopback),
            ("0177.0.0.1", Loopback),
            ("0177.1", Loopback),
            ("0x7f000001", Loopback),
            ("0X7F.0.0.1", Loopback),
            ("0x7f.1", Loopback),
            ("0x7f.0x0.0x0.0x1", Loopback),
            ("00000177.0.0.0000001", Loopback),
            ("0", Unspecified),
            ("0x", Unspecified),
            ("0.0.0.0", Unspecified),
            ("0x0.0", Unspecified),
            ("10.1", Private),
            ("192.168.257", Private),
            ("3232235777", Private),
            ("169.254.169.254", Metadata),
            ("2852039166", Metadata),
            ("0xa9fea9fe", Metadata),
            ("0251.0376.0251.0376", Metadata),
            ("169.254.43518", Metadata),
            ("100.64.1", CarrierNat),
            ("[::]", Unspecified),
            ("[::1]", Loopback),
            ("[0:0:0:0:0:0:0:1]", Loopback),
            ("[0000:0000:0000:0000:0000:0000:0000:0001]", Loopback),
            ("[::ffff:127.0.0.1]", Loopback),
            ("[::ffff:7f00:1]", Loopback),
            ("[::FFFF:a9fe:a9fe]", Metadata),
            ("[::127.0.0.1]", Reserved),
            ("[64:ff9b::127.0.0.1]", Loopback),
            ("[64:ff9b::8.8.8.8]", Translated),
            ("[64:ff9b:1::7f00:1]", Translated),
            ("[2002:7f00:1::]", Loopback),
            ("[2001::1]", Tunnelled),
            ("[fe80::1]", LinkLocal),
            ("[fd00:ec2::254]", Metadata),
        ];
        for (host, reason) in cases {
            for (scheme, port) in [("https", ""), ("http", ":8080")] {
                let url = format!("{scheme}://{host}{port}/hook");
                let expected = Err(RefusedTarget::Address(*reason));
                assert_eq!(Target::parse(&url, &any_port()), expected, "{url}");
            }
        }
    }

    #[test]
    fn what_a_policy_opens_can_be_parsed_and_what_another_opened_is_checked_again() {
        let office = Policy { allow_blocks: vec!["10.0.0.0/8".parse().unwrap()], ..Policy::strict() };
        let cases = [
            (Policy::development(), "http://localhost:3000/x", Ok(())),
            (Policy::development(), "http://127.0.0.1:1/x", Ok(())),
            (Policy::development(), "https://[::1]:9/x", Ok(())),
            (Policy::development(), "http://hooks.internal/x", Err(RefusedTarget::LocalName)),
            (office.clone(), "https://hooks.internal/x", Ok(())),
            (office.clone(), "https://hooks/x", Ok(())),
            (office.clone(), "https://10.1.2.3/x", Ok(())),
            (office.clone(), "https://localhost/x", Err(RefusedTarget::LocalName)),
        ];
        for (policy, url, expected) in cases {
            let parsed = Target::parse(url, &policy);
            assert_eq!(parsed.as_ref().map(|_| ()).map_err(|refused| *refused), expected, "{url}");
            if let Ok(target) = parsed {
                assert!(target.shared_origin().check(&Policy::strict()).is_err(), "{url}");
            }
        }
    }

    #[test]
    fn neither_debug_nor_a_refusal_shows_the_secret_part_of_a_url() {
        let target = Target::parse("https://example.com/SECRET?k=SECRET", &Policy::strict()).unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://example.com/•••)");
        let refused = Target::parse("https://SECRET:SECRET@example.com/", &Policy::strict()).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("SECRET"));
    }
}
