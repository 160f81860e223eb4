//! Which domains take mail, as far as the DNS tells.

use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

use super::names::{absolute, resolver_of_system};

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
}
