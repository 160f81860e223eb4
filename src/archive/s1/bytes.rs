//! Files and pictures, with their bytes.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Seek as _};

use bytes::Bytes;
use rusqlite::types::Value;
use uuid::Uuid;

use super::place::NotOpened;
use super::source::{FILES, LINKS, Row};
use super::values::{id_value, words};
use super::{Unfit, Work};
use crate::files::{Brought, FileName, pieces_of};
use crate::users::Description;

/// The largest picture that is made one of ours, in bytes.
const PICTURE: u64 = 2 * 1024 * 1024;
/// What a note shows of a name.
const NAME: usize = 80;

const COLUMNS: &str =
    "id, created_by, picture_of, name, media_type, description, size, sha256, blob, created_at";

/// Which files there are now.
#[derive(Default)]
struct Kept {
    /// Whose each file is.
    owners: HashMap<i64, Uuid>,
    /// Names, of which each owner has one.
    names: HashSet<(Uuid, String)>,
}

/// A file that came along.
struct Arrived {
    picture_of: Option<Uuid>,
    name: String,
    media_type: &'static str,
    brought: Brought,
}

impl Work<'_> {
    pub(super) fn files(&mut self) -> Result<(), Unfit> {
        let there = self.source.count(FILES)?;
        if self.place.is_none() {
            if there > 0 {
                self.note(format!(
                    "{there} file(s) are left out: without --files-root nobody knows where their bytes are"
                ));
            }
            return Ok(());
        }
        let (mut after, mut kept) = (i64::MIN, Kept::default());
        loop {
            let rows = self.source.portion(FILES, after)?;
            let Some(last) = rows.last() else { break };
            after = last.number;
            let mut files = Vec::new();
            for row in &rows {
                files.extend(self.file(row, &mut kept)?);
            }
            self.write("files", COLUMNS, files)?;
        }
        self.links(&kept)
    }

    fn file(&mut self, row: &Row, kept: &mut Kept) -> Result<Option<Vec<Value>>, Unfit> {
        let (id, created_at) = (row.integer("id")?, row.moment("created_at")?);
        let shown = format!("file {id} ({})", words(row.text("file_name")?, NAME));
        if id < 1 {
            return Err(row.unfit("id", "must be a number above 0"));
        }
        let owner = row.optional_text("created_by_uuid")?.and_then(|text| Uuid::try_parse(text).ok());
        let Some(owner) = owner.filter(|owner| self.people.made.contains_key(owner)) else {
            self.note(format!("{shown} is left out: it is nobody's"));
            return Ok(None);
        };
        let description = row.optional_text("description")?.filter(|text| !text.is_empty());
        let description = description.and_then(|text| Description::parse(text).ok());
        let mut arrived = match self.bytes(row, id, owner, kept)? {
            Ok(arrived) => arrived,
            Err(why) => {
                self.note(format!("{shown} is left out: {why}"));
                return Ok(None);
            }
        };
        self.settle(owner, &mut arrived)?;
        kept.owners.insert(id, owner);
        Ok(Some(vec![
            id.into(),
            id_value(owner),
            arrived.picture_of.map_or(Value::Null, id_value),
            arrived.name.into(),
            arrived.media_type.to_owned().into(),
            description.map(|text| text.as_str().to_owned()).into(),
            i64::try_from(arrived.brought.size).unwrap_or(i64::MAX).into(),
            arrived.brought.sha256.to_vec().into(),
            id_value(arrived.brought.blob),
            created_at.into(),
        ]))
    }

    /// What an earlier import brought is there already: its bytes are those of the file, and not the new ones.
    fn settle(&mut self, owner: Uuid, arrived: &mut Arrived) -> Result<(), Unfit> {
        let (files, brought) = (&self.parts.files, &mut arrived.brought);
        let known = self.runtime.block_on(files.known(owner, &arrived.name, brought.sha256));
        match known.map_err(anyhow::Error::from)? {
            Some(known) => {
                self.runtime.block_on(files.discard(vec![std::mem::replace(&mut brought.blob, known)]));
            }
            None => self.converted.blobs.push(brought.blob),
        }
        Ok(())
    }

    /// Brings the bytes of a file; somebody's picture is made one that may be shown.
    fn bytes(
        &mut self,
        row: &Row,
        id: i64,
        owner: Uuid,
        kept: &mut Kept,
    ) -> Result<Result<Arrived, NotOpened>, Unfit> {
        let path = row.text("file_path")?;
        let Some(opened) = self.place.as_ref().map(|place| place.file(path)) else {
            return Ok(Err(NotOpened::Missing));
        };
        let file = match opened {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(of) = self.people.pictures.get(&id).copied() {
            match self.picture(&file, of)? {
                Some(arrived) => return Ok(Ok(arrived)),
                None => {
                    self.note(format!("{of}: the picture is none that can be shown; it is a plain file now"));
                }
            }
        }
        let reader = tokio::fs::File::from_std(file);
        let pieces = Box::pin(pieces_of(reader));
        let brought = self.runtime.block_on(self.parts.files.bring(None, pieces))?;
        let name = FileName::of(&name_of(row)?);
        let media_type = brought.media_type(&name);
        Ok(Ok(Arrived { picture_of: None, name: kept.free_name(owner, &name), media_type, brought }))
    }

    fn picture(&self, file: &std::fs::File, of: Uuid) -> Result<Option<Arrived>, Unfit> {
        let mut bytes = Vec::new();
        let mut reading = file;
        (&mut reading).take(PICTURE + 1).read_to_end(&mut bytes)?;
        // Who reads it next begins at its beginning.
        reading.rewind()?;
        let made = self.runtime.block_on(self.parts.pictures.make(Bytes::from(bytes), true));
        let Ok(made) = made else { return Ok(None) };
        let pieces = futures_util::stream::iter([Ok(made.bytes)]);
        let brought = self.runtime.block_on(self.parts.files.bring(None, pieces))?;
        let name = format!("pfp_{of}.{}", made.ending);
        Ok(Some(Arrived { picture_of: Some(of), name, media_type: made.media_type, brought }))
    }

    fn links(&mut self, kept: &Kept) -> Result<(), Unfit> {
        let (mut after, mut linked) = (i64::MIN, HashSet::new());
        loop {
            let rows = self.source.portion(LINKS, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.number;
            let mut links = Vec::new();
            for row in &rows {
                let (user, file) = (row.uuid("user_uuid")?, row.integer("file_id")?);
                let of_another = kept.owners.get(&file).is_some_and(|owner| *owner != user);
                if of_another && self.people.made.contains_key(&user) && linked.insert((user, file)) {
                    links.push(vec![id_value(user), file.into()]);
                }
            }
            self.write("file_links", "user_id, file_id", links)?;
        }
    }
}

/// The name with its ending, which S1 also keeps by itself.
fn name_of(row: &Row) -> Result<String, Unfit> {
    let (name, ending) = (row.text("file_name")?, row.optional_text("file_type")?.unwrap_or_default());
    let has_it = ending.is_empty() || name.to_lowercase().ends_with(&format!(".{}", ending.to_lowercase()));
    Ok(if has_it { name.to_owned() } else { format!("{name}.{ending}") })
}

impl Kept {
    /// The name, or one like it, that its owner has no file of.
    fn free_name(&mut self, owner: Uuid, name: &FileName) -> String {
        let (stem, ending) = match (name.as_str().rsplit_once('.'), name.ending()) {
            (Some((stem, ending)), Some(_)) => (stem, format!(".{ending}")),
            _ => (name.as_str(), String::new()),
        };
        let others =
            (2_u64..).map(|number| FileName::of(&format!("{stem} ({number}){ending}")).as_str().to_owned());
        let mut names = std::iter::once(name.as_str().to_owned()).chain(others);
        let free = names.find(|name| self.names.insert((owner, name.clone())));
        free.unwrap_or_else(|| name.as_str().to_owned())
    }
}
