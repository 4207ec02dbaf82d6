//! Addresses that customers give us to call.

use super::{lossy, steer};
use crate::observed::Observed;
use tidings_egress::{Host, Policy, Scheme, Target};

/// Pieces of addresses, and all the ways to write one that leads inside.
pub const WORDS: &[&[u8]] = &[
    b"https://",
    b"http://",
    b"file:///",
    b"gopher://",
    b"hooks.example.com",
    b"localhost",
    b"127.0.0.1",
    b"0x7f.1",
    b"0177.0.0.1",
    b"2130706433",
    b"[::1]",
    b"[::ffff:127.0.0.1]",
    b"[64:ff9b::7f00:1]",
    b"169.254.169.254",
    b"10.0.0.1",
    b"user:password@",
    b":443",
    b":25",
    b":0",
    b":65536",
    b"/path",
    b"?a=b",
    b"#end",
    b"%2F",
    b"%00",
    b"\\",
    b"\r\n",
    b"\t",
    "é".as_bytes(),
    "。".as_bytes(),
    "①".as_bytes(),
    b"xn--",
    b".",
    b"..",
    b"//",
    b"@",
    b"[fe80::1%25eth0]",
];

/// The address of an endpoint.
///
/// # Panics
/// If a property does not hold.
pub fn webhook(octets: &[u8]) -> u64 {
    let (flags, octets) = steer(octets);
    let text = lossy(octets);
    let policy = if flags & 1 == 0 { Policy::strict() } else { Policy::development() };
    let seen = Observed::new().and((flags & 1).into());
    match Target::parse(&text, &policy) {
        Err(why) => {
            assert!(why.to_string().len() < 400);
            seen.word(why.word()).number()
        }
        Ok(target) => {
            let plain = |text: &str| text.bytes().all(|octet| (0x21..0x7F).contains(&octet));
            let (host, path) = (target.host().to_string(), target.path_and_query().to_owned());
            assert!(plain(&host) && plain(&path), "{host:?} {path:?}");
            assert!(path.starts_with('/') && !path.contains('#') && !host.contains('@'), "{host} {path}");
            if flags & 1 == 0 {
                assert_eq!(target.scheme(), Scheme::Https);
            }
            let kind = match target.host() {
                Host::Address(address) => {
                    assert_eq!(policy.permits_address(*address), Ok(()), "{address}");
                    1
                }
                Host::Name(name) => {
                    assert!(name.parse::<std::net::IpAddr>().is_err(), "{name}");
                    // What any program might take for an IPv4 address is none of ours.
                    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
                    let hexadecimal = last.strip_prefix("0x").map(str::as_bytes);
                    assert!(
                        !last.bytes().all(|octet| octet.is_ascii_digit())
                            && !hexadecimal.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
                        "{name}"
                    );
                    2
                }
            };
            let again = Target::parse(&format!("{}{path}", target.origin()), &policy);
            let again = again.unwrap_or_else(|why| panic!("{}{path}: {why}", target.origin()));
            assert_eq!(
                (again.host(), again.port(), again.path_and_query()),
                (target.host(), target.port(), path.as_str())
            );
            seen.and(kind).size(host.len()).size(path.len()).and(target.port().into()).number()
        }
    }
}
