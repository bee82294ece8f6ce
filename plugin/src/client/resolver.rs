//! Where the gateway's name leads. Whoever may write `config` must not reach
//! the services that a cloud offers to its machines alone: they hand out
//! credentials to anyone who asks from there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Looks names up at the system's resolver and refuses what they must not lead to.
#[derive(Debug)]
pub(super) struct Resolver {
    /// The host of `base_url`, where the name in the certificate is another one:
    /// the request then goes to this host under that name.
    pub(super) instead: Option<Host<String>>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = match &self.instead {
            Some(Host::Domain(name)) => name.clone(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => name.as_str().to_owned(),
        };
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            permitted(addresses)
        })
    }
}

fn permitted(
    addresses: Vec<SocketAddr>,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    // One bad address among good ones is an attempt, not a gateway.
    if addresses.iter().any(|address| is_forbidden(address.ip())) {
        return Err(Box::new(Forbidden));
    }
    Ok(Box::new(addresses.into_iter()))
}

/// Why a connection was not even tried.
#[derive(Debug)]
pub(super) struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to a link-local or metadata address")
    }
}

impl std::error::Error for Forbidden {}

/// Whether an address is link-local, or one of the clouds' metadata services
/// elsewhere, in whichever form an IPv6 address can hold an IPv4 one.
pub(crate) fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_forbidden_v4(ip),
        IpAddr::V6(ip) => is_forbidden_v6(ip),
    }
}

/// Azure's and Alibaba Cloud's; the others' are link-local.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];
/// Amazon's and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn is_forbidden_v4(ip: Ipv4Addr) -> bool {
    ip.is_link_local() || METADATA_V4.contains(&ip)
}

fn is_forbidden_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let embedded = match parts {
        // Mapped (::ffff:a.b.c.d), translated (64:ff9b::a.b.c.d), and the old
        // compatible form (::a.b.c.d).
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        // 6to4.
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    };
    ip.is_unicast_link_local() || METADATA_V6.contains(&ip) || embedded.is_some_and(is_forbidden_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_form() {
        for bad in [
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert!(is_forbidden(bad.parse().unwrap()), "{bad}");
        }
        for good in [
            "127.0.0.1",
            "10.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "::1",
            "fd00:ec2::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "2002:0a00:0001::1",
            "2001:db8::1",
        ] {
            assert!(!is_forbidden(good.parse().unwrap()), "{good}");
        }
    }

    #[test]
    fn one_bad_address_among_good_ones_is_refused() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let good = vec![address("127.0.0.1:0"), address("[::1]:0")];
        assert_eq!(permitted(good.clone()).unwrap().count(), 2);
        let rebound = [good, vec![address("169.254.169.254:0")]].concat();
        let error = permitted(rebound).err().unwrap();
        assert!(error.is::<Forbidden>());
    }
}
