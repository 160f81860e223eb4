//! Changes on the disk that the system tells of as soon as they happen. Where it can't, looking every now and then does.

use std::path::Path;
use std::sync::Arc;

use notify::{Event, RecommendedWatcher, RecursiveMode, Result, Watcher};
use tokio::sync::Notify;

/// Has the system tell of changes of a file, or of the files in a folder, until what this returns is dropped.
pub fn listen(place: &Path, changed: &Arc<Notify>) -> Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let tell = move |event: Result<Event>| {
        // Looking at a file is an event, too: to answer it with another look would go on for ever.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell)?;
    watcher.watch(place, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
