//! Asking for secrets: on a terminal without showing them, else from standard input.

use std::io::{self, BufRead, ErrorKind, IsTerminal};

use secrecy::{ExposeSecret, SecretString};

/// A secret: asked for on a terminal, else the first line of standard input.
///
/// # Errors
/// When nothing can be read.
pub fn secret(question: &str) -> io::Result<SecretString> {
    if io::stdin().is_terminal() { asked(question) } else { first_line(io::stdin().lock()) }
}

/// A new password: asked for twice on a terminal; the first line of standard input when that was asked for with
/// `--password-stdin`.
///
/// # Errors
/// When the two differ, nothing can be read, or there is no terminal and nobody said to read standard input.
pub fn new_password(source: PasswordSource) -> io::Result<SecretString> {
    match source {
        PasswordSource::StandardInput => first_line(io::stdin().lock()),
        PasswordSource::Terminal if io::stdin().is_terminal() => twice(),
        PasswordSource::Terminal => {
            Err(invalid("there is no terminal to ask for the password: use --password-stdin"))
        }
    }
}

/// A line of text, asked for on the standard error, read from the standard input.
///
/// # Errors
/// When nothing can be read.
pub fn line(question: &str) -> io::Result<String> {
    io::Write::write_all(&mut io::stderr(), question.as_bytes())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Where a password is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// Typed, unseen, twice.
    Terminal,
    /// The first line of standard input.
    StandardInput,
}

impl PasswordSource {
    /// What the option `--password-stdin` asks for.
    #[must_use]
    pub const fn from_option(password_stdin: bool) -> Self {
        if password_stdin { Self::StandardInput } else { Self::Terminal }
    }
}

fn twice() -> io::Result<SecretString> {
    let password = asked("New password: ")?;
    if asked("And again: ")?.expose_secret() != password.expose_secret() {
        return Err(invalid("the two passwords differ"));
    }
    Ok(password)
}

fn asked(question: &str) -> io::Result<SecretString> {
    rpassword::prompt_password(question).map(SecretString::from)
}

fn first_line(mut input: impl BufRead) -> io::Result<SecretString> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(invalid("standard input is empty")),
        secret => Ok(SecretString::from(secret)),
    }
}

fn invalid(words: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts_without_its_end() -> io::Result<()> {
        assert_eq!(first_line(&b" pass word \r\nmore"[..])?.expose_secret(), " pass word ");
        Ok(())
    }

    #[test]
    fn nothing_is_no_secret() {
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&b"\n"[..]).is_err());
    }
}
