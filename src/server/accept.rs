//! Taking connections off the listener without spinning when there is nothing to take them with.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);
/// Open files that stay free for the database, the log and uploads.
const RESERVE: usize = 128;

/// The pause after a failed accept: doubles from 10 ms to 1 s, until one succeeds.
#[derive(Debug, Default)]
pub(super) struct BackOff(Option<Duration>);

impl BackOff {
    fn next(&mut self) -> Duration {
        let pause = self.0.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        *self.0.insert(pause)
    }

    /// The next connection, however long it takes.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    self.0 = None;
                    return socket;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if self.0.is_none() {
                        tracing::warn!(%error, "no connection can be accepted; trying again, slower and slower");
                    }
                    tokio::time::sleep(self.next()).await;
                }
            }
        }
    }
}

/// Errors of a connection that went away while it waited: the next one may be fine at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// How many of `wanted` connections fit below the limit of open files, which is raised as far as it may be.
pub(super) fn connections_that_fit(wanted: usize) -> usize {
    let Some(files) = raised_limit() else { return wanted };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    wanted.min(files - RESERVE.min(files / 2)).max(1)
}

/// `None`: no limit.
fn raised_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current;
    }
    limit.maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_again_after_a_success() {
        let mut back_off = BackOff::default();
        let pauses: Vec<u128> = (0..9).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        back_off.0 = None;
        assert_eq!(back_off.next(), SHORTEST);
    }

    #[test]
    fn running_out_of_files_is_not_the_connections_fault() {
        let too_many_files = io::Error::from_raw_os_error(24);
        assert!(!concerns_one_connection(&too_many_files));
        assert!(concerns_one_connection(&io::ErrorKind::ConnectionAborted.into()));
    }

    #[test]
    fn some_connections_always_fit() {
        assert!(connections_that_fit(usize::MAX) >= 1);
        assert_eq!(connections_that_fit(1), 1);
    }
}
