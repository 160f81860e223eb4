//! The seed of an authenticator, as it is shown once to its owner.

use anyhow::anyhow;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Settings;
use super::authenticator::SeedBytes;

/// What need not be escaped anywhere in a URI (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A seed that waits for its first code. It can't be printed.
#[derive(Clone, Debug)]
pub struct Seed {
    /// For typing it in: base 32, without padding.
    pub secret: SecretString,
    /// For apps: `otpauth://totp/…` (Key URI format).
    pub uri: SecretString,
}

impl Seed {
    pub(super) fn new(seed: &SeedBytes, account: &str, settings: &Settings) -> Self {
        let secret = seed.base32();
        let uri = uri(&secret, account, settings);
        Self { secret: SecretString::from(secret.as_str()), uri: SecretString::from(uri.as_str()) }
    }

    /// The URI as a QR code. Takes some milliseconds of computing: not for an async thread.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        // What the library says of a failure may hold the text, which is secret.
        qrcodegen_image::draw_png(self.uri.expose_secret()).map_err(|_| anyhow!("the QR code can't be drawn"))
    }
}

/// Says everything, defaults too: not every app knows those.
fn uri(secret: &str, account: &str, settings: &Settings) -> Zeroizing<String> {
    let (issuer, account) = (escaped(&settings.issuer), escaped(account));
    // The format parts the label at the first colon, escaped or not: an issuer that has one stands in its parameter only.
    let label = if settings.issuer.contains(':') { account } else { format!("{issuer}:{account}") };
    Zeroizing::new(format!(
        "otpauth://totp/{label}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={}&period={}",
        settings.digits,
        settings.interval.as_secs()
    ))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::*;

    fn settings(issuer: &str) -> Settings {
        Settings {
            issuer: issuer.to_owned(),
            digits: 8,
            interval: Duration::from_mins(1),
            window: 1,
            email_interval: Duration::from_mins(10),
            email_allowed: true,
        }
    }

    fn seed(issuer: &str) -> Seed {
        Seed::new(&SeedBytes::from(*b"12345678901234567890"), "ann_lee", &settings(issuer))
    }

    fn parameter(uri: &str, name: &str) -> String {
        let url = Url::parse(uri).unwrap();
        let mut values = url.query_pairs().filter(|(present, _)| present == name);
        let value = values.next().unwrap().1.into_owned();
        assert!(values.next().is_none());
        value
    }

    #[test]
    fn the_uri_says_everything_that_an_app_needs() {
        let expected = "otpauth://totp/Gatehouse:ann_lee?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
                        &issuer=Gatehouse&algorithm=SHA1&digits=8&period=60";
        assert_eq!(seed("Gatehouse").uri.expose_secret(), expected);
    }

    #[test]
    fn every_name_of_a_project_comes_through() {
        for issuer in ["Café & Söhne", "a:b", "日本", "100% /?#=+", "🚪", &"€".repeat(64)] {
            let uri = seed(issuer).uri.expose_secret().to_owned();
            assert!(uri.is_ascii() && !uri.contains(' '), "{uri}");
            assert_eq!(parameter(&uri, "issuer"), issuer);
            let label = Url::parse(&uri).unwrap().path().trim_start_matches('/').to_owned();
            let label = percent_encoding::percent_decode_str(&label).decode_utf8().unwrap().into_owned();
            let expected =
                if issuer.contains(':') { "ann_lee".to_owned() } else { format!("{issuer}:ann_lee") };
            assert_eq!(label, expected);
        }
    }

    /// The other way round by an implementation that is not ours.
    #[test]
    fn totp_rs_reads_the_uri() {
        for issuer in ["Gatehouse", "Café & Söhne", "日本"] {
            let totp = totp_rs::Totp::from_url(seed(issuer).uri.expose_secret()).unwrap();
            assert_eq!((totp.issuer(), totp.account_name()), (Some(issuer), "ann_lee"));
            assert_eq!((totp.digits(), totp.step()), (8, 60));
            assert_eq!(totp.secret().as_bytes(), b"12345678901234567890");
        }
    }

    #[test]
    fn the_picture_shows_the_uri() {
        for issuer in ["Gatehouse", "日本 & Söhne", &"€".repeat(64)] {
            let seed = seed(issuer);
            let picture = image::load_from_memory(&seed.png().unwrap()).unwrap().into_luma8();
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            let mut grid = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
                picture.get_pixel(u32::try_from(x).unwrap(), u32::try_from(y).unwrap()).0[0]
            });
            let found = grid.detect_grids();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].decode().unwrap().1, seed.uri.expose_secret());
        }
    }

    #[test]
    fn a_seed_is_not_printed() {
        let seed = seed("Gatehouse");
        assert!(!format!("{seed:?}").contains("GEZDG"));
    }
}
