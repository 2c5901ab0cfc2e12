//! One opener per directory.

use std::{
    fs::{DirBuilder, File, TryLockError},
    path::Path,
};

use super::error::GraphOpenError;

/// Keeps every other opener out of a graph's directory until it is dropped.
///
/// The kernel lets go of the lock when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock(File);

impl DirectoryLock {
    /// Makes the directory if it is absent and takes its lock.
    pub(super) fn take(path: &Path) -> Result<Self, GraphOpenError> {
        let unusable = |source| GraphOpenError::Directory { path: path.to_owned(), source };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        // Who follows whom is nobody else's to read.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(unusable)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("graph.lock"))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(GraphOpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that this process is just starting shares the lock until it
        // runs its program.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the graph's directory is let go by closing it");
        }
    }
}
