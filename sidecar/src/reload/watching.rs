//! What tells that files change, and when it is time to look at them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Source;

/// The symbolic link by which the kubelet replaces all files of a volume at once.
pub(super) const DATA_LINK: &str = "..data";
/// After a change, so that files which are written one after the other are seen together.
pub(super) const SETTLE: Duration = Duration::from_millis(20);
/// How long a file that is being written is waited for.
const WRITING: Duration = Duration::from_secs(1);

/// Changes since the files were looked at.
#[derive(Debug, Default)]
pub(super) struct Changes {
    state: Mutex<State>,
    some: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Where something was put by a rename.
    moved: Vec<PathBuf>,
    /// What was written to and not closed since.
    written: BTreeSet<PathBuf>,
    /// Such a file is being moved.
    carried: Option<usize>,
}

impl State {
    /// Whether an event is a reason to look.
    fn note(&mut self, event: &Event) -> bool {
        let paths = &event.paths;
        match event.kind {
            // Also a file that nothing was written to is closed.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => return self.forget(paths),
            // Reading the files is an event too.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => self.written.extend(paths.iter().cloned()),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                let is_written = self.forget(paths);
                self.carried = event.tracker().filter(|_| is_written);
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let is_written = self.carried.take().is_some_and(|it| Some(it) == event.tracker());
                self.forget(paths);
                if is_written {
                    self.written.extend(paths.iter().cloned());
                }
                self.moved.extend(paths.iter().cloned());
            }
            EventKind::Remove(_) => {
                self.forget(paths);
            }
            _ => {}
        }
        true
    }

    /// Nobody writes to these any more; whether somebody did.
    fn forget(&mut self, paths: &[PathBuf]) -> bool {
        let before = self.written.len();
        self.written.retain(|it| !paths.contains(it));
        self.written.len() < before
    }
}

impl Changes {
    fn note(&self, event: &notify::Result<Event>) {
        // What could not be told may be anything.
        if event.as_ref().map_or(true, |event| self.lock().note(event)) {
            self.some.notify_one();
        }
    }

    /// Until something changes.
    pub(super) async fn some(&self) {
        self.some.notified().await;
    }

    /// After something has changed: until all of it has, as far as can be told. That is at once if a rename completes
    /// it; else after a pause.
    pub(super) async fn complete(&self, source: &dyn Source) {
        let mut pause = pin!(tokio::time::sleep(SETTLE));
        loop {
            let moved = std::mem::take(&mut self.lock().moved);
            if moved.iter().any(|path| source.completes(path)) && !self.is_written(source) {
                return;
            }
            tokio::select! {
                () = self.some() => {}
                () = &mut pause => return,
            }
        }
    }

    /// Until none of the files is being written: half of one may well be valid.
    pub(super) async fn closed(&self, source: &dyn Source) {
        let closed = async {
            while self.is_written(source) {
                self.some().await;
            }
        };
        if timeout(WRITING, closed).await.is_err() {
            // Nothing tells of the end, if it was not missed: the content must do.
            self.lock().written.clear();
        }
    }

    fn is_written(&self, source: &dyn Source) -> bool {
        let files = source.files();
        let written = &self.lock().written;
        !written.is_empty() && files.iter().any(|file| written.contains(&place(file)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Directories, because a mounted Secret changes by a symbolic link that is replaced beside the files.
pub(super) fn watch_directories(files: &[PathBuf], changes: &Arc<Changes>) -> Option<RecommendedWatcher> {
    let noting = Arc::clone(changes);
    let directories: BTreeSet<PathBuf> = files.iter().map(|file| directory(file)).collect();
    let watching = notify::recommended_watcher(move |event| noting.note(&event)).and_then(|mut watcher| {
        for directory in &directories {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watching
        .inspect_err(|error| tracing::warn!(%error, "changes are noticed by polling alone, within a second"))
        .ok()
}

/// Where a file lies. A bare file name has an empty parent.
pub(super) fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// How events name a file.
pub(super) fn place(file: &Path) -> PathBuf {
    file.file_name().map_or_else(|| file.to_owned(), |name| directory(file).join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::task::{Context, Waker};
    use std::time::Instant;

    use rustls::crypto::CryptoProvider;

    use super::*;
    use crate::generation::Generation;
    use crate::reload::LoadError;

    /// One file beside others; complete once something was moved to `moved`.
    struct Files {
        files: Vec<PathBuf>,
        moved: PathBuf,
    }

    impl Source for Files {
        fn load(&mut self, _: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
            Ok(None)
        }

        fn files(&self) -> Vec<PathBuf> {
            self.files.clone()
        }

        fn completes(&self, moved: &Path) -> bool {
            moved == self.moved
        }
    }

    fn source(directory: &Path) -> Files {
        Files { files: vec![directory.join("config")], moved: directory.join("config") }
    }

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(Path::new("/etc").join(path))
    }

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const MOVED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));

    fn after(events: &[(EventKind, &str)]) -> Changes {
        let changes = Changes::default();
        for (kind, path) in events {
            changes.note(&Ok(event(*kind, path)));
        }
        changes
    }

    /// Whether the files are looked at without a pause, after events.
    async fn is_complete(events: &[(EventKind, &str)]) -> bool {
        let changes = after(events);
        changes.some().await;
        let files = source(Path::new("/etc"));
        let complete = pin!(changes.complete(&files));
        complete.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn what_is_replaced_at_once_is_looked_at_at_once() {
        assert!(is_complete(&[(MOVED, "config")]).await);
        assert!(is_complete(&[(WRITTEN, "next"), (CLOSED, "next"), (MOVED, "config")]).await);
        assert!(is_complete(&[(WRITTEN, "config"), (MOVED, "config")]).await);
        // What is written to another file that nobody closes is no reason to wait.
        assert!(is_complete(&[(WRITTEN, "other"), (MOVED, "config")]).await);
        assert!(!is_complete(&[(MOVED, "other")]).await);
        assert!(!is_complete(&[(WRITTEN, "config"), (CLOSED, "config")]).await);
        assert!(!is_complete(&[(MOVED, "config"), (WRITTEN, "config")]).await);
        // The pause ends with what completes the change.
        let changes = after(&[(WRITTEN, "next")]);
        let files = source(Path::new("/etc"));
        let mut complete = pin!(changes.complete(&files));
        let mut context = Context::from_waker(Waker::noop());
        assert!(complete.as_mut().poll(&mut context).is_pending());
        changes.note(&Ok(event(MOVED, "config")));
        assert!(complete.as_mut().poll(&mut context).is_ready());
    }

    #[tokio::test]
    async fn what_is_half_written_is_not_looked_at() {
        let files = Files {
            files: vec!["/etc/config".into(), "/etc/users".into()],
            moved: Path::new("/etc/config").into(),
        };
        for events in [&[(WRITTEN, "users")][..], &[(WRITTEN, "users"), (MOVED, "config")]] {
            let changes = after(events);
            let mut closed = pin!(async {
                changes.complete(&files).await;
                changes.closed(&files).await;
            });
            assert!(timeout(SETTLE * 3, &mut closed).await.is_err());
            changes.note(&Ok(event(CLOSED, "users")));
            timeout(WRITING * 10, closed).await.expect("nothing is being written");
        }
        // An end that never comes is waited for, but not for ever.
        let changes = after(&[(WRITTEN, "users")]);
        let begin = Instant::now();
        timeout(WRITING * 10, changes.closed(&files)).await.expect("not for ever");
        assert!(begin.elapsed() >= WRITING);
        assert!(!changes.is_written(&files));
    }

    #[test]
    fn what_is_written_is_followed_to_where_it_is_moved() {
        let files = source(Path::new("/etc"));
        let from = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let changes = after(&[(WRITTEN, "next")]);
        assert!(!changes.is_written(&files));
        changes.note(&Ok(event(from, "next").set_tracker(7)));
        changes.note(&Ok(event(MOVED, "config").set_tracker(7)));
        assert!(changes.is_written(&files));
        changes.note(&Ok(event(from, "other").set_tracker(8)));
        changes.note(&Ok(event(MOVED, "config").set_tracker(8)));
        assert!(!changes.is_written(&files));
        let removed = EventKind::Remove(notify::event::RemoveKind::File);
        assert!(!after(&[(WRITTEN, "config"), (removed, "config")]).is_written(&files));
    }

    #[tokio::test]
    async fn the_system_tells_of_writing_and_of_moving() {
        let directory = tempfile::tempdir().unwrap();
        let (source, changes) = (source(directory.path()), Arc::new(Changes::default()));
        let file = directory.path().join("config");
        fs::write(&file, "old").unwrap();
        let _watcher = watch_directories(&source.files(), &changes).unwrap();
        let until = async |what: &str, is_so: &dyn Fn(&State) -> bool| {
            let noted = async {
                while !is_so(&changes.lock()) {
                    changes.some().await;
                }
            };
            timeout(Duration::from_secs(10), noted).await.expect(what);
        };
        let mut half = fs::File::create(&file).unwrap();
        half.write_all(b"half").unwrap();
        until("written", &|state| state.written.contains(&file)).await;
        assert!(changes.is_written(&source));
        drop(half);
        until("closed", &|state| state.written.is_empty()).await;
        assert!(changes.lock().moved.is_empty());
        let next = directory.path().join("next");
        fs::write(&next, "new").unwrap();
        fs::rename(&next, &file).unwrap();
        until("moved", &|state| state.moved == [file.clone()]).await;
    }

    #[test]
    fn a_bare_name_lies_in_the_directory_of_the_process() {
        assert_eq!(place(Path::new("config.yaml")), Path::new("./config.yaml"));
        assert_eq!(place(Path::new("/etc/config.yaml")), Path::new("/etc/config.yaml"));
    }
}
