//! The head file: how many commits have been acknowledged.
//!
//! The store cannot tell a journal whose end was cut off or overwritten from one that a crash left
//! unfinished: it takes what is readable and goes on. So the number of each commit is also written
//! here, after the commit is durable and before anyone is told. A store that holds fewer commits
//! has lost acknowledged ones.
//!
//! It is not synced with each commit: that would double what a commit waits for. A killed process
//! leaves it exact; after a power failure it may lag behind, and then only misses a loss, never
//! invents one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{digest::hash_bytes, error::GraphOpenError};

/// Two slots, written in turn, each in a sector of its own: one is whole at any moment.
const SLOT_BYTES: u64 = 512;
const SEED: u64 = 0x6865_6164;

/// The open head file.
#[derive(Debug)]
pub(super) struct Head {
    file: File,
    path: PathBuf,
}

impl Head {
    /// Opens or makes the file in `directory`; gives the number that it holds, zero if it is new.
    pub(super) fn open(directory: &Path) -> Result<(Self, u64), GraphOpenError> {
        let path = directory.join("graph.head");
        let (mut file, bytes) = read(&path)
            .map_err(|source| GraphOpenError::Directory { path: path.clone(), source })?;
        let is_new = bytes.is_empty();
        let slots = bytes.chunks(usize::try_from(SLOT_BYTES).unwrap_or(usize::MAX));
        let acknowledged = slots.filter_map(decode).max();
        let acknowledged = match acknowledged {
            Some(commits) => commits,
            None if is_new => 0,
            None => return Err(GraphOpenError::Damaged { path, what: "unreadable head file" }),
        };
        if is_new {
            let unusable = |source| GraphOpenError::Directory { path: path.clone(), source };
            write(&mut file, 0).and_then(|()| file.sync_all()).map_err(unusable)?;
        }
        Ok((Self { file, path }, acknowledged))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that `commits` are durable. Call it before they are acknowledged.
    pub(super) fn note(&mut self, commits: u64) -> io::Result<()> {
        write(&mut self.file, commits)
    }

    /// Makes the last note safe from a power failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn read(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut bytes = Vec::new();
    // More is not ours.
    (&mut file).take(2 * SLOT_BYTES).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

fn write(file: &mut File, commits: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(commits % 2 * SLOT_BYTES))?;
    file.write_all(&encode(commits))
}

fn encode(commits: u64) -> [u8; 16] {
    let mut slot = [0; 16];
    slot[..8].copy_from_slice(&commits.to_be_bytes());
    slot[8..].copy_from_slice(&hash_bytes(SEED, &commits.to_be_bytes()).to_be_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<u64> {
    let slot: &[u8; 16] = slot.first_chunk()?;
    let commits = u64::from_be_bytes(*slot.first_chunk()?);
    (encode(commits) == *slot).then_some(commits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_is_read_again_and_one_damaged_slot_loses_one_note() {
        let directory = tempfile::tempdir().unwrap();
        let (mut head, commits) = Head::open(directory.path()).unwrap();
        assert_eq!(commits, 0);
        for commits in 1..=5 {
            head.note(commits).unwrap();
        }
        let path = head.path().to_owned();
        assert_eq!(Head::open(directory.path()).unwrap().1, 5);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[512 + 7] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Head::open(directory.path()).unwrap().1, 4);
        bytes[9] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Head::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
