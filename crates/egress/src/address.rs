//! Which addresses are public: the rule that keeps requests of customers' making out of our own network.
//!
//! A customer chooses the URL of a webhook, so the customer chooses where this process connects. An address is
//! public only if packets to it leave for the public Internet and end at somebody else's host. The rule is a pure
//! function over the address; IPv6 forms that carry an IPv4 address inside are judged by what they carry.
//!
//! The lists follow the IANA special-purpose address registries (RFC 6890 and its updates). What is not listed there
//! as globally reachable is refused, also when nobody uses it today.
//!
//! It does not look at names, ports or what an operator allows: see [`crate::Policy`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address isn't public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotPublic {
    /// `0.0.0.0/8` and `::`: "this network"; many systems connect it to themselves.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `10/8`, `172.16/12`, `192.168/16` (RFC 1918), `fc00::/7` (RFC 4193), `fec0::/10` (RFC 3879).
    Private,
    /// `100.64.0.0/10`: between a network operator and its customers (RFC 6598).
    CarrierNat,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// Where clouds hand out credentials to their machines. Never allowed, whatever a policy says.
    Metadata,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// `192.0.2/24`, `198.51.100/24`, `203.0.113/24`, `2001:db8::/32`, `3fff::/20`.
    Documentation,
    /// `198.18.0.0/15` (RFC 2544); `2001:2::/48` counts as [`NotPublic::Protocol`].
    Benchmarking,
    /// `192.0.0.0/24`, `2001::/23` except Teredo: assigned to protocols, not to hosts.
    Protocol,
    /// `100::/64` and `100:0:0:1::/64`: packets to it vanish by design (RFC 6666, RFC 9780).
    Discard,
    /// `64:ff9b::/96` and `64:ff9b:1::/48`: a NAT64 of our own network would decide where it ends (RFC 6052, RFC 8215).
    Translated,
    /// Teredo (`2001::/32`) and the anycast relay of 6to4 (`192.88.99.0/24`): a tunnel decides where it ends.
    Tunnelled,
    /// `240.0.0.0/4`, and all of IPv6 outside `2000::/3` that has no line of its own.
    Reserved,
}

impl NotPublic {
    /// The stable word for logs, metrics and stored attempts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier_nat",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Protocol => "protocol",
            Self::Discard => "discard",
            Self::Translated => "translated",
            Self::Tunnelled => "tunnelled",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for NotPublic {
    /// Completes the sentence "the address …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "names no host",
            Self::Loopback => "is this machine itself",
            Self::Private => "belongs to a private network",
            Self::CarrierNat => "lies behind a network operator's address translation",
            Self::LinkLocal => "is only valid on the local link",
            Self::Metadata => "is a cloud's metadata service",
            Self::Multicast => "is a multicast group",
            Self::Broadcast => "is the broadcast address",
            Self::Documentation => "is reserved for documentation",
            Self::Benchmarking => "is reserved for benchmarks",
            Self::Protocol => "is assigned to a protocol, not to a host",
            Self::Discard => "discards everything sent to it",
            Self::Translated => "is translated to IPv4 inside a network",
            Self::Tunnelled => "is the entry of a tunnel",
            Self::Reserved => "is reserved",
        })
    }
}

/// True if packets to `address` end at somebody else's host on the public Internet.
pub fn is_public(address: IpAddr) -> bool {
    judge(address).is_ok()
}

/// [`is_public`], with the reason.
pub fn judge(address: IpAddr) -> Result<(), NotPublic> {
    match address {
        IpAddr::V4(v4) => judge_v4(v4),
        IpAddr::V6(v6) => judge_v6(v6),
    }
}

/// The address which the socket would really use: `::ffff:a.b.c.d` is `a.b.c.d`.
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address that a translator or tunnel would take out of an IPv6 address:
/// NAT64's well-known prefix (RFC 6052 §2.1) and 6to4 (RFC 3056 §2).
pub(crate) fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let part = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(part(high, low)),
        [0x2002, high, low, ..] => Some(part(high, low)),
        _ => None,
    }
}

fn judge_v4(address: Ipv4Addr) -> Result<(), NotPublic> {
    Err(match address.octets() {
        // AWS, Google, Azure and most others; Alibaba; Oracle; Azure's host agent, on an address that looks public.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            NotPublic::Metadata
        }
        // AWS hands out container credentials and pod identities here.
        [169, 254, 170, 2 | 23] => NotPublic::Metadata,
        [0, ..] => NotPublic::Unspecified,
        [127, ..] => NotPublic::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => NotPublic::Private,
        [100, 64..=127, ..] => NotPublic::CarrierNat,
        [169, 254, ..] => NotPublic::LinkLocal,
        [192, 0, 0, _] => NotPublic::Protocol,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => NotPublic::Documentation,
        [198, 18..=19, ..] => NotPublic::Benchmarking,
        [192, 88, 99, _] => NotPublic::Tunnelled,
        [224..=239, ..] => NotPublic::Multicast,
        [255, 255, 255, 255] => NotPublic::Broadcast,
        [240..=255, ..] => NotPublic::Reserved,
        _ => return Ok(()),
    })
}

fn judge_v6(address: Ipv6Addr) -> Result<(), NotPublic> {
    if let Some(v4) = address.to_ipv4_mapped() {
        return judge_v4(v4);
    }
    if let Some(v4) = carried(address) {
        judge_v4(v4)?;
    }
    Err(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => NotPublic::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => NotPublic::Loopback,
        // AWS and Google.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254] => {
            NotPublic::Metadata
        }
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => NotPublic::Translated,
        [0x100, 0, 0, 0 | 1, ..] => NotPublic::Discard,
        [0x2001, 0, ..] => NotPublic::Tunnelled,
        [0x2001, 1..=0x1ff, ..] => NotPublic::Protocol,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => NotPublic::Documentation,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => NotPublic::Private,
        [0xfe80..=0xfebf, ..] => NotPublic::LinkLocal,
        [0xff00..=0xffff, ..] => NotPublic::Multicast,
        // The only part of IPv6 from which public addresses have been handed out (RFC 4291 §2.4).
        [0x2000..=0x3fff, ..] => return Ok(()),
        _ => NotPublic::Reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_address_is_refused_for_its_own_reason_and_its_neighbours_are_public() {
        use NotPublic::*;
        let cases: &[(&str, Result<(), NotPublic>)] = &[
            ("0.0.0.0", Err(Unspecified)),
            ("0.255.255.255", Err(Unspecified)),
            ("1.0.0.0", Ok(())),
            ("1.1.1.1", Ok(())),
            ("8.8.8.8", Ok(())),
            ("9.255.255.255", Ok(())),
            ("10.0.0.0", Err(Private)),
            ("10.255.255.255", Err(Private)),
            ("11.0.0.0", Ok(())),
            ("100.63.255.255", Ok(())),
            ("100.64.0.0", Err(CarrierNat)),
            ("100.100.100.200", Err(Metadata)),
            ("100.127.255.255", Err(CarrierNat)),
            ("100.128.0.0", Ok(())),
            ("126.255.255.255", Ok(())),
            ("127.0.0.0", Err(Loopback)),
            ("127.0.0.1", Err(Loopback)),
            ("127.255.255.255", Err(Loopback)),
            ("128.0.0.0", Ok(())),
            ("168.63.129.16", Err(Metadata)),
            ("168.63.129.17", Ok(())),
            ("169.253.255.255", Ok(())),
            ("169.254.0.0", Err(LinkLocal)),
            ("169.254.169.253", Err(LinkLocal)),
            ("169.254.169.254", Err(Metadata)),
            ("169.254.170.2", Err(Metadata)),
            ("169.254.170.23", Err(Metadata)),
            ("169.255.0.0", Ok(())),
            ("172.15.255.255", Ok(())),
            ("172.16.0.0", Err(Private)),
            ("172.31.255.255", Err(Private)),
            ("172.32.0.0", Ok(())),
            ("192.0.0.0", Err(Protocol)),
            ("192.0.0.192", Err(Metadata)),
            ("192.0.0.255", Err(Protocol)),
            ("192.0.1.0", Ok(())),
            ("192.0.2.1", Err(Documentation)),
            ("192.0.3.0", Ok(())),
            ("192.88.98.255", Ok(())),
            ("192.88.99.1", Err(Tunnelled)),
            ("192.167.255.255", Ok(())),
            ("192.168.0.0", Err(Private)),
            ("192.168.255.255", Err(Private)),
            ("192.169.0.0", Ok(())),
            ("198.17.255.255", Ok(())),
            ("198.18.0.0", Err(Benchmarking)),
            ("198.19.255.255", Err(Benchmarking)),
            ("198.20.0.0", Ok(())),
            ("198.51.99.255", Ok(())),
            ("198.51.100.1", Err(Documentation)),
            ("203.0.113.255", Err(Documentation)),
            ("203.0.114.0", Ok(())),
            ("223.255.255.255", Ok(())),
            ("224.0.0.1", Err(Multicast)),
            ("239.255.255.255", Err(Multicast)),
            ("240.0.0.0", Err(Reserved)),
            ("255.255.255.254", Err(Reserved)),
            ("255.255.255.255", Err(Broadcast)),
            ("::", Err(Unspecified)),
            ("::1", Err(Loopback)),
            ("::2", Err(Reserved)),
            ("::127.0.0.1", Err(Reserved)),
            ("::ffff:127.0.0.1", Err(Loopback)),
            ("::ffff:7f00:1", Err(Loopback)),
            ("::ffff:10.1.2.3", Err(Private)),
            ("::ffff:169.254.169.254", Err(Metadata)),
            ("::ffff:8.8.8.8", Ok(())),
            ("::fffe:8.8.8.8", Err(Reserved)),
            ("::ffff:0:8.8.8.8", Err(Reserved)),
            ("64:ff9b::7f00:1", Err(Loopback)),
            ("64:ff9b::a9fe:a9fe", Err(Metadata)),
            ("64:ff9b::8.8.8.8", Err(Translated)),
            ("64:ff9b:1::1", Err(Translated)),
            ("64:ff9b:1:ffff::808:808", Err(Translated)),
            ("64:ff9b:2::1", Err(Reserved)),
            ("100::1", Err(Discard)),
            ("100:0:0:1::1", Err(Discard)),
            ("100:0:0:2::1", Err(Reserved)),
            ("1fff:ffff::1", Err(Reserved)),
            ("2000::1", Ok(())),
            ("2001::1", Err(Tunnelled)),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Err(Tunnelled)),
            ("2001:2::1", Err(Protocol)),
            ("2001:20::1", Err(Protocol)),
            ("2001:1ff:ffff::1", Err(Protocol)),
            ("2001:200::1", Ok(())),
            ("2001:4860:4860::8888", Ok(())),
            ("2001:db7:ffff::1", Ok(())),
            ("2001:db8::1", Err(Documentation)),
            ("2001:db9::1", Ok(())),
            ("2002:7f00:1::1", Err(Loopback)),
            ("2002:a00:1::", Err(Private)),
            ("2002:c0a8:101::1", Err(Private)),
            ("2002:a9fe:a9fe::1", Err(Metadata)),
            ("2002:808:808::1", Ok(())),
            ("2606:4700:4700::1111", Ok(())),
            ("3ffe:ffff::1", Ok(())),
            ("3fff::1", Err(Documentation)),
            ("3fff:fff:ffff::1", Err(Documentation)),
            ("3fff:1000::1", Ok(())),
            ("4000::1", Err(Reserved)),
            ("5f00::1", Err(Reserved)),
            ("fbff:ffff::1", Err(Reserved)),
            ("fc00::1", Err(Private)),
            ("fd00:ec2::254", Err(Metadata)),
            ("fd20:ce::254", Err(Metadata)),
            ("fdff:ffff::1", Err(Private)),
            ("fe00::1", Err(Reserved)),
            ("fe80::1", Err(LinkLocal)),
            ("febf:ffff::1", Err(LinkLocal)),
            ("fec0::1", Err(Private)),
            ("ff02::1", Err(Multicast)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Err(Multicast)),
        ];
        for (text, expected) in cases {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(judge(address), *expected, "{text}");
            assert_eq!(is_public(address), expected.is_ok(), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_like_the_address_inside_for_every_first_two_octets() {
        for high in 0..=u16::MAX {
            let v4 = Ipv4Addr::from((u32::from(high) << 16) | 0x0101);
            assert_eq!(judge(v4.to_ipv6_mapped().into()), judge(v4.into()), "{v4}");
        }
    }
}
