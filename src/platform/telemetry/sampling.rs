//! Which traces are recorded (OpenTelemetry's `OTEL_TRACES_SAMPLER`).

/// One more than the largest number of 56 bits.
const ALL: u64 = 1 << 56;

/// Decides about a trace, once for all its spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the caller's decision counts, where a caller has made one.
    pub obeys_parent: bool,
    /// The share of traces that is recorded otherwise, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// Whether this trace is recorded; `above` is what the caller does.
    #[must_use]
    pub fn records(&self, trace: &[u8; 16], above: Option<bool>) -> bool {
        match above {
            Some(sampled) if self.obeys_parent => sampled,
            _ => self.is_chosen(trace),
        }
    }

    /// By the trace's last 56 bits, which are random in a UUID, too, and by which every program decides that sees the trace.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "56 bits lose next to nothing, and a bound for a random number need not be exact"
    )]
    fn is_chosen(&self, trace: &[u8; 16]) -> bool {
        let random = trace[9..].iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        random >= ((1.0 - self.ratio) * ALL as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::Clock;
    use crate::platform::random::Random;
    use crate::platform::web::TraceIds;

    const LOW: [u8; 16] = [0; 16];
    const HIGH: [u8; 16] = [255; 16];

    #[test]
    fn the_caller_decides_where_its_word_counts() {
        let obedient = Sampler { obeys_parent: true, ratio: 1.0 };
        assert!(obedient.records(&LOW, None) && obedient.records(&LOW, Some(true)));
        assert!(!obedient.records(&LOW, Some(false)));
        assert!(obedient.records(&HIGH, Some(true)));
        let never = Sampler { obeys_parent: true, ratio: 0.0 };
        assert!(!never.records(&LOW, None) && never.records(&LOW, Some(true)));
        let always = Sampler { obeys_parent: false, ratio: 1.0 };
        assert!(always.records(&HIGH, Some(false)));
    }

    #[test]
    fn a_share_of_the_traces_is_recorded() {
        let half = Sampler { obeys_parent: false, ratio: 0.5 };
        assert!(half.records(&HIGH, None) && !half.records(&LOW, None));
        // Those that we make ourselves begin with the time.
        let ids = TraceIds::new(Clock::System, &Random::seeded(1));
        let count = (0..10_000).filter(|_| half.records(&ids.fresh().w3c(), None)).count();
        assert!((4_800..5_200).contains(&count), "{count}");
    }
}
