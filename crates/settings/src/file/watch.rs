//! Noticing that a file has changed, however that was done: written in place,
//! replaced by another, or reached through a link that leads elsewhere now.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Files to look at again and again.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    /// As they were when they were last read.
    read: Vec<Option<Stamp>>,
    /// As they were at the last look, where that was something else.
    last: Vec<Option<Stamp>>,
}

/// What tells one state of a file from another. The change time is set by the kernel at
/// every write and every rename, whatever the modification time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    /// Watches these from now on; what they hold now counts as read.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let read = stamps(&files);
        Self { files, last: read.clone(), read }
    }

    /// Whether there is something new to read. Only once it is the same at two looks, so that
    /// a file half written is left alone: look again after a moment.
    pub fn look(&mut self) -> bool {
        let now = stamps(&self.files);
        let is_settled = now == self.last;
        self.last = now;
        is_settled && self.last != self.read
    }

    /// What is there at this moment counts as read. To be called before it is read: what is
    /// written meanwhile is seen at the next look.
    pub fn reading(&mut self) {
        self.read = stamps(&self.files);
        self.last.clone_from(&self.read);
    }

    /// Watches these instead; new ones count as read.
    pub fn set(&mut self, files: Vec<PathBuf>) {
        if files == self.files {
            return;
        }
        let kept = |file: &PathBuf| {
            let place = self.files.iter().position(|one| one == file)?;
            Some((self.read[place], self.last[place]))
        };
        let known: Vec<_> = files.iter().map(|file| kept(file).unwrap_or_else(|| (stamp(file), stamp(file)))).collect();
        (self.read, self.last) = known.into_iter().unzip();
        self.files = files;
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(stamp).collect()
}

/// `None` while there is nothing to be had, as for a moment during a replacement.
fn stamp(file: &PathBuf) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some(Stamp {
        file: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two looks: the first sees it, the second knows that it stays.
    fn is_new(watch: &mut Watch) -> bool {
        assert!(!watch.look(), "not before it has settled");
        let is_new = watch.look();
        watch.reading();
        is_new
    }

    #[test]
    fn a_file_is_new_when_it_is_written_replaced_or_linked_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), "a").unwrap();
        symlink("one", path("link")).unwrap();
        let mut watch = Watch::new(vec![path("link"), path("secret")]);
        assert!(!watch.look() && !watch.look());

        fs::write(path("one"), "bb").unwrap();
        assert!(is_new(&mut watch), "written in place");
        fs::write(path("other"), "cc").unwrap();
        fs::rename(path("other"), path("one")).unwrap();
        assert!(is_new(&mut watch), "replaced");
        // As Kubernetes does it: a link is made aside, and moved over the old one.
        fs::write(path("two"), "dd").unwrap();
        symlink("two", path("aside")).unwrap();
        fs::rename(path("aside"), path("link")).unwrap();
        assert!(is_new(&mut watch), "linked elsewhere");
        fs::write(path("secret"), "x").unwrap();
        assert!(is_new(&mut watch), "there at last");
        fs::remove_file(path("link")).unwrap();
        assert!(is_new(&mut watch), "gone");
        assert!(!watch.look() && !watch.look());
    }

    #[test]
    fn a_file_that_goes_on_changing_is_left_alone_until_it_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut watch = Watch::new(vec![path.clone()]);
        for size in 1..20 {
            fs::write(&path, "x".repeat(size)).unwrap();
            assert!(!watch.look());
        }
        assert!(watch.look());
    }

    #[test]
    fn files_that_come_and_go_do_not_make_the_others_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), "a").unwrap();
        fs::write(path("two"), "b").unwrap();
        let mut watch = Watch::new(vec![path("one")]);
        watch.set(vec![path("one"), path("two")]);
        assert!(!watch.look() && !watch.look());
        fs::write(path("one"), "cc").unwrap();
        watch.set(vec![path("two"), path("one")]);
        assert!(is_new(&mut watch));
    }
}
