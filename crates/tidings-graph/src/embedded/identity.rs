//! Which graph a directory holds: a file with an id, made with the directory or, in one that is older
//! than ids, when it is opened.
//!
//! A directory that is moved, or put back from a copy, is the same graph. One that is copied to begin
//! another is not: without its file it gets an id of its own.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
};

use tidings_core::ids::GraphId;
use uuid::Uuid;

use super::error::GraphOpenError;

/// Reads the id of the graph in `directory`, which is locked; makes one if there is none.
pub(super) fn load_or_make(directory: &Path) -> Result<GraphId, GraphOpenError> {
    let path = directory.join("graph.id");
    match fs::read(&path) {
        Ok(text) => {
            let id = std::str::from_utf8(&text).ok().and_then(|it| it.trim_end().parse().ok());
            let id = id.map(|id: Uuid| GraphId(id.as_u128()));
            id.ok_or(GraphOpenError::Damaged { path, what: "unreadable id file" })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = GraphId(Uuid::now_v7().as_u128());
            let made = make(directory, &path, id);
            made.map_err(|source| GraphOpenError::Directory { path, source })?;
            Ok(id)
        }
        Err(source) => Err(GraphOpenError::Directory { path, source }),
    }
}

/// Writes a whole file and only then gives it its name: a crash leaves an id or none.
fn make(directory: &Path, path: &Path, id: GraphId) -> io::Result<()> {
    let unfinished = path.with_extension("id.new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_and_another_directory_has_another() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        // What a crash left is written anew.
        fs::write(one.path().join("graph.id.new"), "half").unwrap();
        let id = load_or_make(one.path()).unwrap();
        assert_eq!(load_or_make(one.path()).unwrap(), id);
        assert_ne!(load_or_make(other.path()).unwrap(), id);
    }

    #[test]
    fn a_damaged_id_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("graph.id"), "").unwrap();
        let error = load_or_make(directory.path()).unwrap_err();
        assert!(matches!(error, GraphOpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("graph.id"), "{error}");
    }
}
