//! Owns a block of addresses that a key may be used from. Pure. An IPv4 address
//! in IPv6's clothes counts as the IPv4 address that it is.

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

/// The prefix of `::ffff:0:0/96`, where IPv6 keeps IPv4's addresses.
const MAPPED_PREFIX: u8 = 96;

/// `network/prefix`, with nothing set beyond the prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// An address alone is the block of that address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = bits(address);
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits)?
            }
            Some(_) => return None,
        };
        let (address, prefix) = match (address.to_canonical(), prefix.checked_sub(MAPPED_PREFIX)) {
            (IpAddr::V4(mapped), Some(prefix)) if address.is_ipv6() => (mapped.into(), prefix),
            _ => (address, prefix),
        };
        Some(Self {
            network: masked(address, prefix),
            prefix,
        })
    }

    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    // A shift by the whole width is no shift to Rust, and here means: nothing.
    let host = u32::from(bits(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Cidr;

    #[test]
    fn blocks_are_read_and_written_in_one_form() {
        for (text, expected) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("10.1.2.3/0", Some("0.0.0.0/0")),
            ("192.168.1.129/25", Some("192.168.1.128/25")),
            ("2001:DB8::1/32", Some("2001:db8::/32")),
            ("::1", Some("::1/128")),
            ("fe80::ff/0", Some("::/0")),
            ("::ffff:10.1.2.3/104", Some("10.0.0.0/8")),
            ("::ffff:10.1.2.3", Some("10.1.2.3/32")),
            ("::ffff:10.1.2.3/95", Some("::fffe:0:0/95")),
            ("", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/8/8", None),
            ("10.0.0/8", None),
            ("010.0.0.1", None),
            ("10.0.0.0/256", None),
            (" 10.0.0.0/8", None),
            ("fe80::1%eth0", None),
            ("localhost", None),
            ("*", None),
        ] {
            let read = Cidr::parse(text).map(|cidr| cidr.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("192.168.1.128/25", "192.168.1.255", "192.168.1.127"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ] {
            let block = Cidr::parse(block).unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(
                !block.contains(outside.parse().unwrap()),
                "{block} {outside}"
            );
        }
    }
}
