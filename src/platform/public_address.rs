//! Which addresses are everybody's: what somebody else's word may lead this server to.

use std::net::IpAddr;

/// Whether the address is one of the public Internet (the IANA registries of special-purpose addresses, RFC 6890).
///
/// Everything else is refused, also what only wraps another address (IPv4-mapped, NAT64, 6to4, Teredo): where it leads
/// depends on the network that the server stands in.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !matches!(
                (a, b, c),
                // this network, private, loopback; multicast, reserved, broadcast
                (0 | 10 | 127 | 224..=255, _, _)
                    | (100, 64..=127, _)       // behind the provider's NAT
                    | (169, 254, _)            // link-local; clouds answer with credentials here
                    | (172, 16..=31, _)        // private
                    | (192, 0, 0 | 2)          // protocol assignments, documentation
                    | (192, 88, 99)            // relays of 6to4
                    | (192, 168, _)            // private
                    | (198, 18 | 19, _)        // benchmarks
                    | (198, 51, 100)           // documentation
                    | (203, 0, 113) // documentation
            )
        }
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            // Global unicast is 2000::/3; loopback, mapped, NAT64, unique local and link-local all lie outside.
            a & 0xe000 == 0x2000
                && !matches!(
                    (a, b),
                    (0x2001, 0..=0x01ff | 0x0db8) // protocol assignments, Teredo; documentation
                        | (0x2002, _)          // 6to4
                        | (0x3fff, 0..=0x0fff) // documentation
                )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap_or_else(|_| panic!("{text}")))
    }

    // A-135, T-22: every form that has been the way in somewhere.
    #[test]
    fn no_address_of_a_network_of_ones_own_is_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:53aa:64c:0:7fff:fffe:fffe",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "4000::1",
            "1fff::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn addresses_next_to_those_are_public() {
        for text in [
            "1.0.0.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.112.255",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(public(text), "{text}");
        }
    }
}
