//! What is told of what could not be kept as it was.

/// What is told in full; the rest is counted.
const MOST_NOTES: usize = 10_000;

/// What was not kept as it was.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    lines: Vec<String>,
    more: u64,
}

impl Notes {
    pub(super) fn add(&mut self, line: String) {
        if self.lines.len() < MOST_NOTES {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }

    /// One line for each, for an operator.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let more = (self.more > 0).then(|| format!("… and {} more like these", self.more));
        self.lines.iter().cloned().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_beyond_the_most_are_counted() {
        let mut notes = Notes::default();
        (0..=MOST_NOTES).for_each(|number| notes.add(number.to_string()));
        assert_eq!(notes.lines().count(), MOST_NOTES + 1);
        assert_eq!(notes.lines().last().unwrap(), "… and 1 more like these");
    }
}
