//! What the system knows of the process. Names are those that Prometheus' own libraries give.

use std::fs;

use super::{Family, Sample, number, size};
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::machine;

/// In which `/proc` counts a processor's time: a hundredth of a second, whatever the kernel's own clock (time(7)).
const TICKS: f64 = 100.0;

/// The process, since it began.
pub(super) struct Process {
    clock: Clock,
    begun: Timestamp,
}

impl Process {
    pub(super) const fn new(clock: Clock, begun: Timestamp) -> Self {
        Self { clock, begun }
    }

    /// What can be known; where there is no `/proc`, the rest has no values.
    pub(super) fn measures(&self) -> Vec<Family> {
        let system = System::look();
        let plain = |value: Option<f64>| value.map(Sample::plain).into_iter().collect::<Vec<_>>();
        let begun = self.begun.since(Timestamp::default()).as_secs_f64();
        let up = self.clock.now().since(self.begun).as_secs_f64();
        let version = Sample::labelled([("version", env!("CARGO_PKG_VERSION"))], 1.0);
        vec![
            Family::gauge("gatehouse_build_info", "Always 1; the version is a label.", vec![version]),
            Family::gauge("gatehouse_uptime_seconds", "Seconds since the program began.", plain(Some(up))),
            Family::gauge(
                "process_start_time_seconds",
                "When the program began, in seconds since the Unix epoch.",
                plain(Some(begun)),
            ),
            Family::counter(
                "process_cpu_seconds_total",
                "Time that processors spent on the program, in seconds.",
                plain(system.cpu),
            ),
            Family::gauge(
                "process_resident_memory_bytes",
                "Memory that the program holds, in bytes.",
                plain(system.resident),
            ),
            Family::gauge("process_open_fds", "Open files and connections.", plain(system.open)),
            Family::gauge("process_max_fds", "How many there may be.", plain(system.most_open)),
            Family::gauge("process_threads", "Threads.", plain(system.threads)),
        ]
    }
}

#[derive(Default)]
struct System {
    cpu: Option<f64>,
    resident: Option<f64>,
    threads: Option<f64>,
    open: Option<f64>,
    most_open: Option<f64>,
}

impl System {
    fn look() -> Self {
        let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return Self::default() };
        // The second field is the name in parentheses, and may hold anything (proc_pid_stat(5)).
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> =
            after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Self {
            cpu: field(14).zip(field(15)).map(|(user, system)| number(user + system) / TICKS),
            resident: machine::resident().map(number),
            threads: field(20).map(number),
            open: fs::read_dir("/proc/self/fd").ok().map(|entries| size(entries.count())),
            most_open: rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(number),
        }
    }
}
