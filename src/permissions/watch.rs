//! Policies that change while the program runs: noticed, read when they hold still, put in force if they are good.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;
use sea_orm::DbErr;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::folder::{self, Reading};
use super::policies::{Policies, Source};
use super::{Permissions, PolicyMistake};
use crate::platform::listening::listen;

/// How often the folder is looked at where the system tells nothing: network file systems, mounted volumes.
const EVERY: Duration = Duration::from_secs(1);

/// For how long files must hold still before they are used: an editor may be in the middle of writing.
const STILL: Duration = Duration::from_millis(100);

/// Changes that wait to be noted, while that can't be done; more are in the program's own log only.
const MOST_OWED: usize = 100;

/// What was found when the folder was last looked at.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) reading: Reading,
    pub(super) mistake: Option<PolicyMistake>,
}

/// Changed policies that were put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The names of the files; none: the program's own policies are in force again.
    pub files: Vec<String>,
    /// SHA-256 over the names and texts of the files, each behind its length.
    pub sha256: [u8; 32],
}

impl Adoption {
    fn of(sources: &[Source]) -> Self {
        let mut sum = digest::Context::new(&digest::SHA256);
        for text in sources.iter().flat_map(|source| [&source.name, &source.text]) {
            sum.update(&(text.len() as u64).to_be_bytes());
            sum.update(text.as_bytes());
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(sum.finish().as_ref());
        Self { files: sources.iter().map(|source| source.name.clone()).collect(), sha256 }
    }
}

/// Notes down that policies were put in force.
pub type NoteAdoption = Arc<dyn Fn(Adoption) -> BoxFuture<'static, Result<(), DbErr>> + Send + Sync>;

impl Permissions {
    /// Puts changed policy files in force, and has that noted, again until it is. Bad files change nothing but
    /// [`Permissions::status`] and the log. Never ends; may be dropped at any time.
    pub async fn watch(self: Arc<Self>, note: NoteAdoption) {
        let (owed, to_note) = mpsc::channel(MOST_OWED);
        // Side by side: a database that is away keeps no policy from being put in force.
        tokio::join!(self.look_for_ever(owed), note_each(to_note, note));
    }

    async fn look_for_ever(self: Arc<Self>, owed: mpsc::Sender<Adoption>) {
        let Some(folder) = &self.folder else { return std::future::pending().await };
        let changed = Arc::new(Notify::new());
        let _tells_until_dropped = listen(folder, &changed)
            .inspect_err(|error| tracing::debug!(%error, "policies are looked at every second only"));
        loop {
            tokio::select! {
                () = changed.notified() => {}
                () = sleep(EVERY) => {}
            }
            let permissions = Arc::clone(&self);
            let adoption = spawn_blocking(move || permissions.catch_up())
                .await
                .inspect_err(|error| tracing::error!(%error, "looking for changed policies failed"));
            if adoption.ok().flatten().is_some_and(|adoption| owed.try_send(adoption).is_err()) {
                tracing::error!("too many changes of policies wait to be noted: this one never will be");
            }
        }
    }

    /// Looks at the folder once. What is still changing is left for the next look.
    pub(super) fn catch_up(&self) -> Option<Adoption> {
        let folder = self.folder.as_ref()?;
        let reading = folder::read(folder);
        if reading == self.latest().reading {
            return None;
        }
        thread::sleep(STILL);
        if folder::read(folder) == reading { self.adopt(reading) } else { None }
    }

    fn adopt(&self, reading: Reading) -> Option<Adoption> {
        let mut adoption = None;
        let mistake = match reading.clone().and_then(|found| self.compile(found.as_deref())) {
            Ok(policies) => {
                policies.log();
                self.live.store(Arc::new(policies));
                let found = reading.as_ref().ok().and_then(Option::as_deref);
                adoption = Some(Adoption::of(found.unwrap_or_default()));
                None
            }
            Err(mistake) => {
                let PolicyMistake { file, line, what } = &mistake;
                tracing::error!(file, line, what, "policies refused; the last good ones stay in force");
                Some(mistake)
            }
        };
        *self.latest() = Latest { reading, mistake };
        adoption
    }

    fn compile(&self, found: Option<&[Source]>) -> Result<Policies, PolicyMistake> {
        // A volume that came loose must not bring back the built-in policies, which may allow more.
        if found.is_none() && !self.live.load().files.is_empty() {
            return Err(PolicyMistake::new("policies", "the folder is gone"));
        }
        Policies::found(found, &self.vocabulary)
    }

    pub(super) fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes one after the other, each until that is done.
async fn note_each(mut owed: mpsc::Receiver<Adoption>, note: NoteAdoption) {
    while let Some(adoption) = owed.recv().await {
        while let Err(error) = note(adoption.clone()).await {
            tracing::warn!(%error, "changed policies could not be noted; it is tried again");
            sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::{pending, ready};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Instant;

    use futures_util::FutureExt;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::permissions::{Action, Context, PolicyStatus, Resource, Subject};
    use crate::sessions::Role;

    const TESTERS_READ_STATS: &str = r#"
        @id("testers-read-stats")
        permit (principal in Role::"tester", action == Action::"stats:read", resource);
    "#;

    /// Runs with one file that lets testers read the stats, and nobody anything else.
    fn running() -> (TempDir, Arc<Permissions>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.cedar"), TESTERS_READ_STATS).unwrap();
        let permissions = Permissions::open(Some(folder.path())).unwrap();
        (folder, Arc::new(permissions))
    }

    fn may(permissions: &Permissions, role: Role, action: Action) -> bool {
        let subject = Subject::account(Uuid::from_u128(1), role.into());
        permissions.decide(&subject, action, &Resource::System, &Context::default()).is_allow()
    }

    fn mistake(permissions: &Permissions) -> String {
        permissions.status().mistake.map(|mistake| mistake.to_string()).unwrap_or_default()
    }

    /// After a bad change: the first policies are still in force, and the status tells what is wrong.
    fn refused(permissions: &Permissions) -> String {
        permissions.catch_up();
        assert!(may(permissions, Role::Tester, Action::StatsRead));
        assert!(!may(permissions, Role::Admin, Action::StatsRead));
        assert_eq!(permissions.status().policies, 1);
        mistake(permissions)
    }

    #[test]
    fn files_in_the_folder_win_over_the_policies_of_the_program() {
        let (_folder, permissions) = running();
        assert!(may(&permissions, Role::Tester, Action::StatsRead));
        assert!(!may(&permissions, Role::Admin, Action::StatsRead));
        let files = vec!["a.cedar".to_owned()];
        assert_eq!(permissions.status(), PolicyStatus { policies: 1, files, mistake: None });
    }

    #[test]
    fn a_good_change_is_put_in_force_with_no_memory_of_old_answers() {
        let (folder, permissions) = running();
        assert!(may(&permissions, Role::Tester, Action::StatsRead));
        let more = TESTERS_READ_STATS.replace("tester", "admin");
        fs::write(folder.path().join("a.cedar"), more).unwrap();
        permissions.catch_up();
        assert!(!may(&permissions, Role::Tester, Action::StatsRead));
        assert!(may(&permissions, Role::Admin, Action::StatsRead));
    }

    #[test]
    fn further_files_add_up() {
        let (folder, permissions) = running();
        let more = TESTERS_READ_STATS.replace("tester", "admin");
        fs::write(folder.path().join("b.cedar"), more).unwrap();
        permissions.catch_up();
        assert!(may(&permissions, Role::Tester, Action::StatsRead));
        assert!(may(&permissions, Role::Admin, Action::StatsRead));
        assert_eq!(permissions.status().files, ["a.cedar", "b.cedar"]);
    }

    #[test]
    fn a_bad_change_is_refused_until_it_is_mended() {
        let (folder, permissions) = running();
        let file = folder.path().join("a.cedar");
        fs::write(&file, format!("{TESTERS_READ_STATS}\npermit (")).unwrap();
        assert_eq!(refused(&permissions), "a.cedar, line 5: unexpected end of input");
        fs::write(&file, TESTERS_READ_STATS).unwrap();
        permissions.catch_up();
        assert_eq!(mistake(&permissions), "");
    }

    #[test]
    fn an_empty_file_is_refused() {
        let (folder, permissions) = running();
        fs::write(folder.path().join("a.cedar"), "// nothing yet\n").unwrap();
        assert_eq!(refused(&permissions), "a.cedar: there is no policy in it");
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_refused() {
        let (folder, permissions) = running();
        fs::remove_file(folder.path().join("a.cedar")).unwrap();
        fs::create_dir(folder.path().join("a.cedar")).unwrap();
        assert_eq!(refused(&permissions), "a.cedar: it is not a regular file");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let (folder, permissions) = running();
        fs::write(folder.path().join("a.cedar"), [0xff, 0xfe]).unwrap();
        assert_eq!(refused(&permissions), "a.cedar: byte 0 is not UTF-8");
    }

    #[test]
    fn a_huge_file_is_refused() {
        let (folder, permissions) = running();
        fs::write(folder.path().join("a.cedar"), "/".repeat(1024 * 1024 + 1)).unwrap();
        assert_eq!(refused(&permissions), "a.cedar: policies may not be larger than 1 MiB together");
    }

    #[test]
    fn a_device_in_place_of_the_file_is_refused_at_once() {
        let (folder, permissions) = running();
        fs::remove_file(folder.path().join("a.cedar")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.cedar")).unwrap();
        assert_eq!(refused(&permissions), "a.cedar: it is not a regular file");
    }

    #[test]
    fn when_the_last_file_is_taken_out_the_policies_of_the_program_return() {
        let (folder, permissions) = running();
        fs::remove_file(folder.path().join("a.cedar")).unwrap();
        permissions.catch_up();
        assert!(may(&permissions, Role::Admin, Action::StatsRead));
        assert_eq!(permissions.status().files, Vec::<String>::new());
    }

    #[test]
    fn when_the_folder_vanishes_its_policies_stay() {
        let (folder, permissions) = running();
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(refused(&permissions), "policies: the folder is gone");
    }

    #[test]
    fn a_bad_file_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.cedar"), "permit").unwrap();
        assert_eq!(Permissions::open(Some(folder.path())).unwrap_err().file, "a.cedar");
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_noticed_when_it_comes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("policies");
        let permissions = Permissions::open(Some(&folder)).unwrap();
        assert!(may(&permissions, Role::Admin, Action::StatsRead));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.cedar"), TESTERS_READ_STATS).unwrap();
        permissions.catch_up();
        assert!(!may(&permissions, Role::Admin, Action::StatsRead));
    }

    #[test]
    fn what_is_noted_tells_other_texts_apart_and_only_what_is_in_force() {
        let (folder, permissions) = running();
        let path = folder.path().join("a.cedar");
        let other = TESTERS_READ_STATS.replace("tester", "admin");
        fs::write(&path, &other).unwrap();
        let first = permissions.catch_up().unwrap();
        fs::write(&path, TESTERS_READ_STATS).unwrap();
        let second = permissions.catch_up().unwrap();
        assert_ne!(first.sha256, second.sha256);
        fs::write(&path, "permit(").unwrap();
        assert_eq!(permissions.catch_up(), None);
        fs::write(&path, other).unwrap();
        assert_eq!(permissions.catch_up(), Some(first));
    }

    #[tokio::test]
    async fn a_note_that_takes_for_ever_holds_up_no_policy() {
        let (folder, permissions) = running();
        let note: NoteAdoption = Arc::new(|_: Adoption| pending::<Result<(), DbErr>>().boxed());
        let changes = async {
            for (name, role) in [("admin", Role::Admin), ("moderator", Role::Moderator)] {
                let changed = TESTERS_READ_STATS.replace("tester", name);
                fs::write(folder.path().join("a.cedar"), changed).unwrap();
                let start = Instant::now();
                while !may(&permissions, role, Action::StatsRead) {
                    assert!(start.elapsed() < Duration::from_secs(10));
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tokio::select! {
            () = Arc::clone(&permissions).watch(note) => unreachable!("it never ends"),
            () = changes => {}
        }
    }

    #[tokio::test]
    async fn the_watch_puts_changes_in_force_by_itself_and_has_them_noted() {
        let (folder, permissions) = running();
        let changes = async {
            sleep(Duration::from_millis(50)).await;
            let more = TESTERS_READ_STATS.replace("tester", "admin");
            fs::write(folder.path().join("a.cedar"), more).unwrap();
            let start = Instant::now();
            while may(&permissions, Role::Tester, Action::StatsRead) {
                assert!(start.elapsed() < Duration::from_secs(10));
                sleep(Duration::from_millis(5)).await;
            }
        };
        let noted: Arc<Mutex<Vec<Adoption>>> = Arc::default();
        let (written, refusals) = (Arc::clone(&noted), AtomicUsize::new(1));
        let note: NoteAdoption = Arc::new(move |adoption| {
            let is_refused = refusals.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            if !is_refused {
                written.lock().unwrap().push(adoption);
            }
            let answer = if is_refused { Err(DbErr::Custom("away".into())) } else { Ok(()) };
            ready(answer).boxed()
        });
        let noting = async {
            changes.await;
            let start = Instant::now();
            while noted.lock().unwrap().is_empty() {
                assert!(start.elapsed() < Duration::from_secs(10));
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = Arc::clone(&permissions).watch(note) => unreachable!("it never ends"),
            () = noting => {}
        }
        let files = vec!["a.cedar".to_owned()];
        let noted = noted.lock().unwrap();
        assert_eq!((noted.len(), &noted[0].files), (1, &files), "{noted:?}");
    }
}
