//! What the DNS says of a name.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// A name that is not answered for by then is not answered for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What asks the DNS. Clones mean the same.
#[derive(Clone)]
pub struct Names(Source);

#[derive(Clone)]
enum Source {
    /// The resolvers of the system, looked up when first needed.
    System(Arc<OnceLock<Option<TokioResolver>>>),
    /// What tests say.
    #[cfg(test)]
    Told(Arc<Told>),
}

/// Answers for names, as a test gives them.
#[cfg(test)]
type Told = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// There is no answer for the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name has no answer")]
pub struct NoAnswer;

impl Names {
    /// Asks the resolvers of the system.
    #[must_use]
    pub fn of_system() -> Self {
        Self(Source::System(Arc::default()))
    }

    /// Answers with what `tell` says.
    #[cfg(test)]
    pub fn told(tell: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Source::Told(Arc::new(tell)))
    }

    /// The addresses of a host.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        let resolver = match &self.0 {
            Source::System(resolver) => of_system(resolver)?,
            #[cfg(test)]
            Source::Told(tell) => return Ok(tell(host)),
        };
        let found = tokio::time::timeout(PATIENCE, resolver.lookup_ip(absolute(host))).await;
        Ok(found.map_err(|_| NoAnswer)?.map_err(|_| NoAnswer)?.iter().collect())
    }

    /// The texts (TXT) that stand at a name, each in one piece.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let resolver = match &self.0 {
            Source::System(resolver) => of_system(resolver)?,
            #[cfg(test)]
            Source::Told(_) => return Err(NoAnswer),
        };
        let found = tokio::time::timeout(PATIENCE, resolver.txt_lookup(absolute(name))).await;
        let found = found.map_err(|_| NoAnswer)?.map_err(|_| NoAnswer)?;
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => String::from_utf8(text.txt_data.concat()).ok(),
            _ => None,
        });
        Ok(texts.collect())
    }
}

/// Ends in a dot: the search list of the system is not for names that others gave.
pub(super) fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn of_system(resolver: &OnceLock<Option<TokioResolver>>) -> Result<&TokioResolver, NoAnswer> {
    let made = resolver.get_or_init(|| resolver_of_system("no name can be looked up"));
    made.as_ref().ok_or(NoAnswer)
}

/// What asks the resolvers of the system. Where it has none, the log says so, and what follows from that.
pub(super) fn resolver_of_system(without: &str) -> Option<TokioResolver> {
    let built = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
    built.inspect_err(|error| tracing::warn!(%error, "{without}: no resolver")).ok()
}
