//! Threads of ours that calculate for long give way to those that answer requests.

/// On Linux each thread has a priority of its own: the one that calls this gets the processor time that others leave.
#[cfg(target_os = "linux")]
pub fn lower_priority() {
    use rustix::process::{getpriority_process, setpriority_process};
    let lowered = getpriority_process(None).and_then(|nice| setpriority_process(None, (nice + 5).min(19)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "the priority of a thread could not be lowered");
    }
}

/// Elsewhere priorities belong to processes.
#[cfg(not(target_os = "linux"))]
pub fn lower_priority() {}
