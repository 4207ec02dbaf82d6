//! What an installation allows: the one place that says which schemes, ports and addresses a request may use.
//!
//! The strict policy is what a live installation runs with. Everything else is an operator's named exception.
//! A policy is asked twice: when a URL is accepted ([`crate::Target::parse`]), and again for every address a name
//! resolves to, right before connecting. A metadata address is refused whatever the policy says.
//!
//! It does not resolve names and knows nothing of a customer's settings.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::address::{NotPublic, carried, judge, unmapped};
use crate::target::RefusedTarget;

/// The ports a receiver may listen on under [`Policy::strict`]: those on which nothing but HTTPS is expected.
pub const STRICT_PORTS: [u16; 2] = [443, 8443];

/// What a request may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Clear-text `http:` is allowed beside `https:`.
    pub allow_http: bool,
    /// `127.0.0.0/8`, `::1` and the name `localhost` are allowed.
    pub allow_loopback: bool,
    /// Blocks that are allowed though they aren't public, such as the operator's own network. When there is one,
    /// names that only mean something inside (`hooks`, `hooks.internal`) may be used; their addresses are judged.
    pub allow_blocks: Vec<Block>,
    /// Blocks that are refused though they are public: this installation's own addresses. Wins over the rest.
    pub refuse_blocks: Vec<Block>,
    /// The ports that may be called.
    pub ports: Ports,
}

/// The ports that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// These and no other.
    Only(Vec<u16>),
    /// Any but 0.
    Any,
}

impl Policy {
    /// For live use: `https:` to public addresses on ports 443 and 8443.
    pub fn strict() -> Self {
        Self {
            allow_http: false,
            allow_loopback: false,
            allow_blocks: Vec::new(),
            refuse_blocks: Vec::new(),
            ports: Ports::Only(STRICT_PORTS.to_vec()),
        }
    }

    /// For a developer's machine: also this machine itself, `http:`, and any port. Other private addresses stay closed.
    pub fn development() -> Self {
        Self { allow_http: true, allow_loopback: true, ports: Ports::Any, ..Self::strict() }
    }

    /// Whether a connection to `address` may be opened.
    ///
    /// # Errors
    /// [`RefusedTarget::Address`] or [`RefusedTarget::OwnAddress`].
    pub fn permits_address(&self, address: IpAddr) -> Result<(), RefusedTarget> {
        let address = unmapped(address);
        if self.refuse_blocks.iter().any(|block| block.contains(address)) {
            return Err(RefusedTarget::OwnAddress);
        }
        // An allowed block of IPv6 doesn't open the IPv4 network behind a translator or tunnel.
        if let IpAddr::V6(v6) = address
            && let Some(v4) = carried(v6)
        {
            self.permits_address(v4.into())?;
        }
        match judge(address) {
            Ok(()) => Ok(()),
            Err(NotPublic::Metadata) => Err(RefusedTarget::Address(NotPublic::Metadata)),
            Err(NotPublic::Loopback) if self.allow_loopback && address.is_loopback() => Ok(()),
            Err(_) if self.allow_blocks.iter().any(|block| block.contains(address)) => Ok(()),
            Err(reason) => Err(RefusedTarget::Address(reason)),
        }
    }

    pub(crate) fn permits_port(&self, port: u16) -> Result<(), RefusedTarget> {
        let permitted = match &self.ports {
            Ports::Any => port != 0,
            Ports::Only(ports) => port != 0 && ports.contains(&port),
        };
        if permitted { Ok(()) } else { Err(RefusedTarget::Port(port)) }
    }
}

/// A block of addresses in CIDR form, such as `10.20.0.0/16`, `fd12::/32` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    first: IpAddr,
    prefix: u8,
}

impl Block {
    /// True if `address` lies in the block. A mapped IPv6 address counts as the IPv4 address inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        match (self.first, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(address, self.prefix) == self.first
            }
            _ => false,
        }
    }
}

impl FromStr for Block {
    type Err = InvalidBlock;

    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| InvalidBlock)?;
        if first != unmapped(first) {
            return Err(InvalidBlock);
        }
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |digits| digits.parse().map_err(|_| InvalidBlock))?;
        // Bits beyond the prefix are a slip of the pen that would open or close something else than was meant.
        if prefix > longest || masked(first, prefix) != first {
            return Err(InvalidBlock);
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

/// A text that isn't a block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a block of addresses; write it as 10.20.0.0/16 or fd12::/32, with no bits after the prefix")]
pub struct InvalidBlock;

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Block> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_policy_opens_what_it_names_and_nothing_beside_it() {
        let office = Policy {
            allow_blocks: blocks(&[
                "10.20.0.0/16",
                "fd12::/32",
                "64:ff9b::/96",
                "169.254.0.0/16",
                "2002::/16",
            ]),
            refuse_blocks: blocks(&["198.41.0.4", "10.20.0.9/32"]),
            ..Policy::strict()
        };
        let refused = |reason| Err(RefusedTarget::Address(reason));
        let cases = [
            (Policy::strict(), "8.8.8.8", Ok(())),
            (Policy::strict(), "127.0.0.1", refused(NotPublic::Loopback)),
            (Policy::strict(), "10.20.1.1", refused(NotPublic::Private)),
            (Policy::development(), "127.9.9.9", Ok(())),
            (Policy::development(), "::1", Ok(())),
            (Policy::development(), "::ffff:127.0.0.1", Ok(())),
            (Policy::development(), "64:ff9b::127.0.0.1", refused(NotPublic::Loopback)),
            (Policy::development(), "2002:7f00:1::1", refused(NotPublic::Loopback)),
            (Policy::development(), "10.0.0.1", refused(NotPublic::Private)),
            (Policy::development(), "0.0.0.0", refused(NotPublic::Unspecified)),
            (Policy::development(), "169.254.169.254", refused(NotPublic::Metadata)),
            (office.clone(), "10.20.255.255", Ok(())),
            (office.clone(), "::ffff:10.20.0.1", Ok(())),
            (office.clone(), "10.21.0.0", refused(NotPublic::Private)),
            (office.clone(), "10.20.0.9", Err(RefusedTarget::OwnAddress)),
            (office.clone(), "::ffff:10.20.0.9", Err(RefusedTarget::OwnAddress)),
            (office.clone(), "198.41.0.4", Err(RefusedTarget::OwnAddress)),
            (office.clone(), "64:ff9b::198.41.0.4", Err(RefusedTarget::OwnAddress)),
            (office.clone(), "198.41.0.5", Ok(())),
            (office.clone(), "fd12:0:ffff::1", Ok(())),
            (office.clone(), "fd12:1::1", refused(NotPublic::Private)),
            (office.clone(), "64:ff9b::8.8.8.8", Ok(())),
            (office.clone(), "64:ff9b::127.0.0.1", refused(NotPublic::Loopback)),
            (office.clone(), "64:ff9b::10.21.0.1", refused(NotPublic::Private)),
            (office.clone(), "2002:7f00:1::", refused(NotPublic::Loopback)),
            (office.clone(), "127.0.0.1", refused(NotPublic::Loopback)),
            (office.clone(), "169.254.1.1", Ok(())),
            (office.clone(), "169.254.169.254", refused(NotPublic::Metadata)),
        ];
        for (policy, address, expected) in cases {
            assert_eq!(policy.permits_address(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_block_is_written_with_no_bits_after_its_prefix() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.1", "10.0.0.1/32", "::/0", "fd00::/8", "::1/128"] {
            assert!(good.parse::<Block>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10/8",
            "fd00::/129",
            "fd00::1/8",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/-1",
            "10.0.0.0/+8 ",
        ] {
            assert_eq!(bad.parse::<Block>(), Err(InvalidBlock), "{bad}");
        }
        assert_eq!("10.0.0.0/8".parse::<Block>().unwrap().to_string(), "10.0.0.0/8");
    }
}
