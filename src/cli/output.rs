//! What is said to whoever has asked, and the exit code.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::app::StartFault;
use crate::platform::config::Mistake;

/// Exit code of a start that the configuration forbids (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// Says why the program can't start; 78 where the configuration is to blame.
pub(super) fn fault(fault: &StartFault) -> ExitCode {
    let code = if fault.is_configuration() { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE };
    write(std::io::stderr(), &format!("gatehouse: {fault}\n"), code)
}

/// For people, on the standard output; a closed one is no reason to stop.
pub(super) fn say(text: &str) {
    write(std::io::stdout(), text, ExitCode::SUCCESS);
}

/// For people, on the standard error.
pub(super) fn complain(text: &str) {
    write(std::io::stderr(), text, ExitCode::SUCCESS);
}

/// One line per mistake, so that all can be mended in one go.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_or_else` asks for")]
pub(super) fn refused(mistakes: Vec<Mistake>) -> ExitCode {
    let lines = mistakes
        .iter()
        .fold(String::new(), |lines, mistake| lines + "gatehouse: " + &mistake.to_string() + "\n");
    write(std::io::stderr(), &lines, ExitCode::from(CONFIGURATION))
}

pub(super) fn failed(error: &dyn std::error::Error) -> ExitCode {
    write(std::io::stderr(), &format!("gatehouse: {error}\n"), ExitCode::FAILURE)
}

pub(super) fn print(text: &str) -> ExitCode {
    write(std::io::stdout(), text, ExitCode::SUCCESS)
}

/// Writes and exits with `code`; a reader that has read enough (`| head`) is no failure.
fn write(mut stream: impl Write, text: &str, code: ExitCode) -> ExitCode {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => code,
    }
}
