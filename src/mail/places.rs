//! Where a client is, as far as known without asking anybody.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, geoip2};

/// The operator's file of places.
pub(super) struct Places(Reader<Vec<u8>>);

impl Places {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let reader = Reader::open_readfile(path);
        reader.map(Self).map_err(|error| anyhow::anyhow!("GEOIP_DATABASE {}: {error}", path.display()))
    }

    /// `Berlin, Germany` in a language of the file, or as much of it as is known.
    pub(super) fn name(&self, ip: IpAddr, language: &str) -> Option<String> {
        let found = self.0.lookup(ip).ok()?.decode::<geoip2::City>().ok()??;
        let name = |names: &geoip2::Names<'_>| {
            let own = match language {
                "de" => names.german,
                "fr" => names.french,
                "es" => names.spanish,
                _ => None,
            };
            own.or(names.english).map(str::to_owned)
        };
        let parts = [name(&found.city.names), name(&found.country.names)];
        let known: Vec<String> = parts.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A MaxMind database (MaxMind DB File Format 2.0) that knows one network, 192.0.2.0/24.
    fn database() -> Vec<u8> {
        const NODES: u32 = 24;
        fn text(words: &str) -> Vec<u8> {
            [&[0x40 | u8::try_from(words.len()).unwrap()], words.as_bytes()].concat()
        }
        fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
            let pairs_of = pairs.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
            std::iter::once(0xe0 | u8::try_from(pairs.len()).unwrap()).chain(pairs_of).collect()
        }
        let number = |kind: u8, value: u8| vec![kind << 5 | 1, value];
        let names = |english: &str, german: &str| {
            map(&[("names", map(&[("en", text(english)), ("de", text(german))]))])
        };
        let data = map(&[("city", names("Vienna", "Wien")), ("country", names("Austria", "Österreich"))]);
        let network = u32::from_be_bytes([192, 0, 2, 0]);
        let mut tree = Vec::new();
        for node in 0..NODES {
            let next = if node + 1 < NODES { node + 1 } else { NODES + 16 };
            let is_one = network >> (31 - node) & 1 == 1;
            for record in if is_one { [NODES, next] } else { [next, NODES] } {
                tree.extend_from_slice(&record.to_be_bytes()[1..]);
            }
        }
        let about = map(&[
            ("binary_format_major_version", number(5, 2)),
            ("binary_format_minor_version", number(5, 0)),
            ("build_epoch", vec![0x01, 0x02, 1]),
            ("database_type", text("Test-City")),
            ("description", map(&[("en", text("test"))])),
            ("ip_version", number(5, 4)),
            ("languages", [&[0x02, 0x04][..], &text("en"), &text("de")].concat()),
            ("node_count", number(6, 24)),
            ("record_size", number(5, 24)),
        ]);
        [tree, vec![0; 16], data, b"\xab\xcd\xefMaxMind.com".to_vec(), about].concat()
    }

    #[test]
    fn a_place_is_named_in_the_readers_language_where_it_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("places.mmdb");
        std::fs::write(&path, database()).unwrap();
        let places = Places::open(&path).unwrap();
        let name = |ip: &str, language: &str| places.name(ip.parse().unwrap(), language);
        assert_eq!(name("192.0.2.7", "en").as_deref(), Some("Vienna, Austria"));
        assert_eq!(name("192.0.2.7", "de").as_deref(), Some("Wien, Österreich"));
        assert_eq!(name("192.0.2.7", "tlh").as_deref(), Some("Vienna, Austria"));
        assert_eq!(name("192.0.3.7", "en"), None);
        assert_eq!(name("2001:db8::1", "en"), None);
        std::fs::write(&path, "no database").unwrap();
        assert!(Places::open(&path).is_err());
    }
}
