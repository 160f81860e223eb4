//! `gatehouse export`, `import` and `recover`: everything in one file, and back.

use std::path::Path;
use std::process::ExitCode;

use super::commands::Incoming;
use crate::app::{App, StartFault};
use crate::archive::{Counts, How, ImportOptions, Progress};
use crate::platform::clock::Clock;
use crate::platform::config::Loaded;
use crate::platform::hexadecimal;
use crate::platform::random::Random;

/// Writes the file.
pub(super) async fn export(file: &Path, force: bool, loaded: Loaded) -> Result<ExitCode, StartFault> {
    if file.exists() && !force {
        let words = format!("{} is there already; --force overwrites it", file.display());
        return Err(anyhow::anyhow!(words).into());
    }
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let exported = app.archive.export_to(file, &Progress::of_terminal()).await;
    if let Ok(exported) = &exported {
        app.archive.note_export(None, exported).await.map_err(anyhow::Error::from)?;
    }
    app.close().await;
    let exported = exported.map_err(anyhow::Error::from)?;
    let mut words = String::new();
    for (table, rows) in &exported.rows {
        line(&mut words, &format!("{rows:>10} {table}"));
    }
    line(&mut words, &format!("sha-256 of the canonical dump: {}", hexadecimal::written(&exported.digest)));
    super::say(&words);
    Ok(ExitCode::SUCCESS)
}

/// Reads a file into the database.
pub(super) async fn read_in(how: How, incoming: Incoming, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let options = ImportOptions {
        drop_second_factors: incoming.drop_second_factors,
        files_root: incoming.files_root,
        ..ImportOptions::default()
    };
    let counts = app.archive.import_from(&incoming.file, how, &options, &Progress::of_terminal()).await;
    app.close().await;
    match counts {
        Ok(counts) => super::say(&told(&counts)),
        Err(refusal) => return Err(anyhow::anyhow!("{refusal}. Nothing was changed").into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// What an import did, for an operator.
pub(super) fn told(counts: &Counts) -> String {
    let mut words = format!(
        "{:<18}{:>10}{:>10}{:>12}{:>10}{:>10}\n",
        "", "added", "filled", "overwritten", "equal", "left out"
    );
    for (table, rows) in counts {
        let numbers = format!(
            "{table:<18}{:>10}{:>10}{:>12}{:>10}{:>10}",
            rows.added, rows.filled, rows.overwritten, rows.equal, rows.left_out
        );
        line(&mut words, &numbers);
    }
    for (table, note) in
        counts.iter().flat_map(|(table, rows)| rows.notes.iter().map(move |note| (table, note)))
    {
        line(&mut words, &format!("{table}: {note}"));
    }
    words
}

fn line(words: &mut String, text: &str) {
    words.push_str(text);
    words.push('\n');
}
