//! What is measured, as it is told: a family of values, each under its labels.

/// How the numbers of a family are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were how large.
    Histogram,
}

/// One thing that is measured.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name; that of a counter ends with `_total`.
    pub name: &'static str,
    /// What it is, and its unit.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// Its values, each under other labels.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is the value of.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub measure: Measure,
}

/// A value, simple or spread out.
#[derive(Clone, Debug)]
pub enum Measure {
    /// A count or a state.
    Number(f64),
    /// The buckets of a histogram.
    Spread(Spread),
}

/// How many were how large.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The upper bounds of all buckets but the last, which has none.
    pub bounds: &'static [f64],
    /// How many lie in each bucket: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all.
    pub sum: f64,
}

impl Spread {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Family {
    /// What goes up only.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Counter, samples }
    }

    /// What goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Gauge, samples }
    }

    /// What is spread out.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Histogram, samples }
    }
}

impl Sample {
    /// The only one of its family.
    #[must_use]
    pub fn plain(value: f64) -> Self {
        Self { labels: Vec::new(), measure: Measure::Number(value) }
    }

    /// One of several.
    #[must_use]
    pub fn labelled<const N: usize>(labels: [(&'static str, &str); N], value: f64) -> Self {
        let labels = labels.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
        Self { labels, measure: Measure::Number(value) }
    }
}

/// A count as a measurement. Beyond 2⁵³ the last digits are lost.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub const fn number(count: u64) -> f64 {
    count as f64
}

/// The same of a size.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub const fn size(count: usize) -> f64 {
    count as f64
}
