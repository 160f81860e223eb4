//! What must hold of files of settings: see `src/fuzzing.rs`.

use std::path::Path;

use super::Sources;
use super::sources::Pair;

/// A line is a setting, a mistake or nothing; what is in quotes is read as it stands there.
pub(crate) fn settings(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("fuzzed");
    let (pairs, mistakes) = read(|sources| sources.with_dotenv(path, text));
    assert!(pairs.len() + mistakes.len() <= text.lines().count());
    for pair in pairs {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '#';
        assert!(
            !pair.name.is_empty() && !pair.name.contains(|c: char| c.is_whitespace() || c == '#'),
            "{pair:?}"
        );
        if pair.name.chars().all(plain) && !pair.text.contains(|c: char| c == '"' || c.is_control()) {
            let line = format!("\n{}=\"{}\" # {}", pair.name, pair.text, pair.text);
            assert_eq!(read(|sources| sources.with_dotenv(path, &line)), (vec![pair], vec![]), "{line}");
        }
    }
    let (_, mistakes) = read(|sources| sources.with_toml(path, text));
    assert!(mistakes.iter().all(|mistake| !mistake.contains(char::is_control)), "{mistakes:?}");
}

fn read(add: impl FnOnce(Sources) -> Sources) -> (Vec<Pair>, Vec<String>) {
    let sources = add(Sources::default());
    let pairs = sources.layers.into_iter().flat_map(|layer| layer.pairs).collect();
    (pairs, sources.mistakes.iter().map(ToString::to_string).collect())
}
