//! Who a handle is in the AT Protocol, and where their account lives: <https://atproto.com/specs/handle>,
//! <https://atproto.com/specs/did>.
//!
//! Every host on this way is named by somebody else: each is a stranger to [`Outgoing`].

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use serde_json::Value;
use url::Url;

use super::super::ProviderFault;
use super::super::answers::{LONGEST_ADDRESS, check_status, document};
use crate::platform::names::Names;
use crate::platform::outgoing::{Bounds, Outgoing};

/// The directory of `did:plc`.
const DIRECTORY: &str = "https://plc.directory";

/// What asks on the way.
pub struct Way {
    /// By HTTP.
    pub outgoing: Outgoing,
    /// By DNS; none where a gateway stands for every host.
    pub names: Option<Names>,
}

/// Somebody's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who they are, for ever.
    pub did: String,
    /// The server that keeps the account.
    pub server: Url,
}

/// A handle as it is compared: lower case, without the `@`.
pub fn handle(text: &str) -> Option<String> {
    let handle = text.trim().trim_start_matches('@').to_ascii_lowercase();
    let labels: Vec<&str> = handle.split('.').collect();
    let fits = |label: &&str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let ends_in_a_name =
        labels.last().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    (labels.len() >= 2 && handle.len() <= 253 && labels.iter().all(fits) && ends_in_a_name).then_some(handle)
}

impl Way {
    /// Whose the handle is: it names a DID, and that DID's document names the handle.
    pub async fn account_of(&self, handle: &str) -> Result<Account, ProviderFault> {
        let did = self.did_of(handle).await?;
        let document = self.document_of(&did).await?;
        if primary_handle(&document).as_deref() != Some(handle) {
            return Err(ProviderFault::Odd("the account does not have this handle"));
        }
        Ok(Account { server: server_of(&document, &did)?, did })
    }

    /// The handle of an account, if it leads back to it. Nothing hangs on it.
    pub async fn handle_of(&self, did: &str) -> Option<String> {
        let handle = primary_handle(&self.document_of(did).await.ok()?)?;
        (self.did_of(&handle).await.ok()? == did).then_some(handle)
    }

    /// The server that keeps an account now.
    pub async fn server_of(&self, did: &str) -> Result<Url, ProviderFault> {
        server_of(&self.document_of(did).await?, did)
    }

    /// The authorization server of the server that keeps an account: exactly one.
    pub async fn issuer_of(&self, server: &Url) -> Result<String, ProviderFault> {
        let address = at(server, "/.well-known/oauth-protected-resource")?;
        let told = document(&self.outgoing, self.get(&address)).await?;
        match told["authorization_servers"].as_array().map(Vec::as_slice) {
            Some([Value::String(issuer)]) if origin(issuer).is_some() => Ok(issuer.clone()),
            _ => Err(ProviderFault::Odd("no authorization server")),
        }
    }

    /// The metadata of an authorization server, which names itself.
    pub async fn metadata_of(&self, issuer: &str) -> Result<Value, ProviderFault> {
        let server = origin(issuer).ok_or(ProviderFault::Odd("an issuer that is no address"))?;
        let address = at(&server, "/.well-known/oauth-authorization-server")?;
        let told = document(&self.outgoing, self.get(&address)).await?;
        if told["issuer"] == *issuer {
            Ok(told)
        } else {
            Err(ProviderFault::Odd("metadata of another issuer"))
        }
    }

    /// By DNS, or else by the handle's own web server.
    async fn did_of(&self, handle: &str) -> Result<String, ProviderFault> {
        if let Some(names) = &self.names
            && let Ok(texts) = names.texts(&format!("_atproto.{handle}")).await
        {
            let mut dids = texts.iter().filter_map(|text| text.strip_prefix("did="));
            match (dids.next(), dids.next()) {
                (Some(only), None) => return did(only),
                (Some(_), Some(_)) => return Err(ProviderFault::Odd("a handle of several accounts")),
                (None, _) => {}
            }
        }
        let address = format!("https://{handle}/.well-known/atproto-did").parse();
        let address = address.map_err(|_| ProviderFault::Refused)?;
        let request = self.outgoing.request(Method::GET, address).build();
        let request = request.map_err(|_| ProviderFault::Refused)?;
        let answer = self.outgoing.ask(request, Bounds { bytes: 4096, ..Bounds::DOCUMENT }).await?;
        check_status(answer.status)?;
        did(String::from_utf8_lossy(&answer.body).trim())
    }

    async fn document_of(&self, did: &str) -> Result<Value, ProviderFault> {
        let address = match did.strip_prefix("did:web:") {
            Some(host) => format!("https://{host}/.well-known/did.json"),
            None => format!("{DIRECTORY}/{did}"),
        };
        let address = address.parse().map_err(|_| ProviderFault::Odd("a DID that is none"))?;
        let told = document(&self.outgoing, self.get(&address)).await?;
        if told["id"] == *did { Ok(told) } else { Err(ProviderFault::Odd("a document of another DID")) }
    }

    /// A question for a document.
    pub fn get(&self, address: &Url) -> reqwest::RequestBuilder {
        let request = self.outgoing.request(Method::GET, address.clone());
        request.header(ACCEPT, HeaderValue::from_static("application/json"))
    }
}

/// `did:plc` or `did:web` of a whole host: the two that the protocol allows.
pub fn did(text: &str) -> Result<String, ProviderFault> {
    let is_plc = text
        .strip_prefix("did:plc:")
        .is_some_and(|id| id.len() == 24 && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
    let is_web = text.strip_prefix("did:web:").is_some_and(|host| handle(host).as_deref() == Some(host));
    if is_plc || is_web { Ok(text.to_owned()) } else { Err(ProviderFault::Odd("a DID that is none")) }
}

/// The first handle that a document names is the one that counts.
fn primary_handle(document: &Value) -> Option<String> {
    let names = document["alsoKnownAs"].as_array()?;
    let first = names.iter().filter_map(Value::as_str).find_map(|name| name.strip_prefix("at://"))?;
    handle(first)
}

fn server_of(document: &Value, did: &str) -> Result<Url, ProviderFault> {
    let whole_id = format!("{did}#atproto_pds");
    let services = document["service"].as_array().map(Vec::as_slice).unwrap_or_default();
    let server = services.iter().find(|service| {
        let is_named = service["id"] == "#atproto_pds" || service["id"] == *whole_id;
        is_named && service["type"] == "AtprotoPersonalDataServer"
    });
    let address = server.and_then(|server| server["serviceEndpoint"].as_str());
    address.and_then(origin).ok_or(ProviderFault::Odd("an account without a server"))
}

/// An address that is scheme, name and port alone, by https.
fn origin(text: &str) -> Option<Url> {
    // It is kept as it was written; parsing drops line breaks and tabs, however many.
    let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST_ADDRESS)?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (url.scheme() == "https" && is_bare && url.username().is_empty()).then_some(url)
}

fn at(server: &Url, path: &str) -> Result<Url, ProviderFault> {
    server.join(path).map_err(|_| ProviderFault::Odd("an address that is none"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn handles_are_names_of_hosts() {
        assert_eq!(handle(" @Alice.Bsky.Social ").as_deref(), Some("alice.bsky.social"));
        for bad in [
            "alice",
            "",
            "@",
            "a..b",
            "-a.b",
            "a-.b",
            "alice.bsky.social.",
            "127.0.0.1",
            "a.b/c",
            "a.b:80",
            "a b.c",
            "a.b?c",
            "ä.de",
            "a.1b",
            "a_b.c",
            "did:plc:abc",
            &format!("{}.com", "a".repeat(64)),
        ] {
            assert_eq!(handle(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_kinds_of_dids_are_known() {
        for good in ["did:plc:z72i7hdynmk6r22z27h6tvur", "did:web:alice.example"] {
            assert!(did(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "did:key:z6Mk",
            "did:plc:short",
            "did:plc:Z72i7hdynmk6r22z27h6tvur",
            "did:web:127.0.0.1",
            "did:web:localhost",
            "did:web:localhost%3A1234",
            "did:web:a.example:path",
            "did:web:a.example/x",
            "did:plc:z72i7hdynmk6r22z27h6tvu/",
            "<html>",
        ] {
            assert!(did(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_server_is_named_by_id_and_type() {
        let of = |id: &str, kind: &str, address: &str| {
            let document = json!({"service": [{"id": id, "type": kind, "serviceEndpoint": address}]});
            server_of(&document, "did:plc:x").map(|url| url.to_string())
        };
        let kind = "AtprotoPersonalDataServer";
        assert_eq!(of("#atproto_pds", kind, "https://pds.example").as_deref(), Ok("https://pds.example/"));
        assert_eq!(
            of("did:plc:x#atproto_pds", kind, "https://pds.example").as_deref(),
            Ok("https://pds.example/")
        );
        for (id, kind, address) in [
            ("#other", kind, "https://pds.example"),
            ("#atproto_pds", "Other", "https://pds.example"),
            ("#atproto_pds", kind, "http://pds.example"),
            ("#atproto_pds", kind, "https://pds.example/path"),
            ("did:plc:y#atproto_pds", kind, "https://pds.example"),
        ] {
            assert!(of(id, kind, address).is_err(), "{id} {kind} {address}");
        }
    }

    #[test]
    fn an_issuer_is_short_as_it_is_written() {
        assert!(origin("https://pds.example").is_some());
        assert!(origin(&format!("https://pds.exam{}ple", "\t".repeat(LONGEST_ADDRESS))).is_none());
    }
}
