//! Which domains take mail, as far as the DNS tells.

use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

use super::names::{absolute, resolver_of_system};
use super::problem::FieldError;

/// A resolver that does not answer by then refuses nobody.
const PATIENCE: Duration = Duration::from_secs(2);

/// What asks the DNS. Clones mean the same.
#[derive(Clone, Default)]
pub struct Domains(Option<Arc<TokioResolver>>);

impl Domains {
    /// Asks nobody: every domain takes mail.
    #[must_use]
    pub fn unasked() -> Self {
        Self(None)
    }

    /// Asks the resolvers of the system. A system without any refuses nobody.
    #[must_use]
    pub fn of_system() -> Self {
        Self(resolver_of_system("the domains of e-mail addresses are not checked").map(Arc::new))
    }

    /// Whether mail may be sent to a domain (in A-labels). Only a domain that does not exist, or one that says it
    /// takes none (RFC 7505), is refused; never one whose servers do not answer.
    pub async fn take_mail(&self, domain: &str) -> bool {
        let Some(resolver) = &self.0 else { return true };
        match tokio::time::timeout(PATIENCE, resolver.mx_lookup(absolute(domain))).await {
            Err(_) => true,
            Ok(Ok(found)) => {
                let mut exchanges = found.answers().iter().filter_map(|record| match &record.data {
                    RData::MX(mx) => Some(mx),
                    _ => None,
                });
                !exchanges.any(|mx| mx.exchange.is_root())
            }
            Ok(Err(error)) => !error.is_nx_domain(),
        }
    }

    /// Refuses the address that the field `email` brings, if it brings one and its domain takes no mail.
    pub async fn check(&self, domain: Option<&str>) -> Result<(), Vec<FieldError>> {
        match domain {
            Some(domain) if !self.take_mail(domain).await => {
                Err(vec![FieldError::new("email", "This domain takes no mail.")])
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::*;

    /// What the name server says of a domain: by its first label.
    const SAID: [(&str, Answer, bool); 6] = [
        ("mail", Answer::Records(&[0, 10, 2, b'm', b'x', 0xc0, 0x0c]), true), // mx of the domain itself
        ("null", Answer::Records(&[0, 0, 0]), false),
        ("none", Answer::Nothing(0), true), // mail goes to the domain itself (RFC 5321, 5.1)
        ("gone", Answer::Nothing(3), false),
        ("broken", Answer::Nothing(2), true),
        ("silent", Answer::Silence, true),
    ];

    #[derive(Clone, Copy)]
    enum Answer {
        /// An exchange, as it stands in a record.
        Records(&'static [u8]),
        /// A code, and no record.
        Nothing(u8),
        Silence,
    }

    #[tokio::test]
    async fn only_a_domain_that_does_not_exist_or_takes_no_mail_is_refused() {
        let dns = Dns::start().await;
        let domains = dns.domains();
        for (label, _, takes) in SAID {
            let domain = format!("{label}.example.com");
            let verdict = async {
                tokio::select! {
                    never = dns.serve() => match never {},
                    verdict = domains.take_mail(&domain) => verdict,
                }
            };
            // Who signs up waits for it.
            let verdict = tokio::time::timeout(PATIENCE * 3, verdict).await;
            assert_eq!(verdict.expect("a verdict"), takes, "{domain}");
            assert!(dns.asked.borrow().iter().any(|asked| asked == label), "nobody has asked for {domain}");
        }
    }

    #[tokio::test]
    async fn a_domain_is_asked_for_only_where_that_is_wanted() {
        assert!(Domains::unasked().take_mail("gone.example.com").await);
    }

    /// A name server that tells what `SAID` says.
    struct Dns {
        socket: UdpSocket,
        asked: RefCell<Vec<String>>,
    }

    impl Dns {
        async fn start() -> Self {
            Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), asked: RefCell::default() }
        }

        /// What asks it, and nobody else.
        fn domains(&self) -> Domains {
            let address = self.socket.local_addr().unwrap();
            let mut connection = ConnectionConfig::udp();
            connection.port = address.port();
            let server = NameServerConfig::new(address.ip(), true, vec![connection]);
            let config = ResolverConfig::from_name_servers(vec![server]);
            let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            Domains(Some(Arc::new(builder.build().unwrap())))
        }

        async fn serve(&self) -> Infallible {
            let mut question = [0; 512];
            loop {
                let (size, from) = self.socket.recv_from(&mut question).await.unwrap();
                if let Some(answer) = self.answer(&question[..size]) {
                    self.socket.send_to(&answer, from).await.unwrap();
                }
            }
        }

        /// The answer to a question (RFC 1035, 4.1), if there is one.
        fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
            let end_of_name = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
            let asked = &question[12..end_of_name + 5]; // with the type and the class
            assert_eq!(&asked[asked.len() - 4..], [0, 15, 0, 1], "the exchanges of mail, in the internet");
            let label = std::str::from_utf8(&asked[1..=usize::from(asked[0])]).unwrap();
            self.asked.borrow_mut().push(label.to_owned());
            let (_, answer, _) = SAID.into_iter().find(|(known, _, _)| *known == label).unwrap();
            let (code, record) = match answer {
                Answer::Records(record) => (0, Some(record)),
                Answer::Nothing(code) => (code, None),
                Answer::Silence => return None,
            };
            let records = u8::from(record.is_some());
            let mut said = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0];
            said.extend(asked);
            if let Some(record) = record {
                let length = u8::try_from(record.len()).unwrap();
                said.extend([0xc0, 0x0c, 0, 15, 0, 1, 0, 0, 0, 60, 0, length]); // of that name, for a minute
                said.extend(record);
            }
            Some(said)
        }
    }
}
