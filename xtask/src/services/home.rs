//! Where a service keeps its files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Service;
use crate::process::{last_lines, repo_root};

/// The folder of one service, `target/services/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

impl Home {
    pub(crate) fn of(service: Service) -> Self {
        Self { dir: services_dir().join(service.name()) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the service stores; `down --wipe` removes it.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Configuration that we write anew at every start.
    pub(crate) fn conf(&self, file: &str) -> PathBuf {
        self.dir.join("conf").join(file)
    }

    /// The jars of a service that runs on Java.
    pub(crate) fn lib(&self) -> PathBuf {
        self.dir.join("lib")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// Writes a configuration file.
    pub(crate) fn write_conf(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.conf(file);
        fs::create_dir_all(self.dir.join("conf"))?;
        fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }

    /// Opens an empty log and keeps the one before as `log.previous`: it may tell of a crash.
    pub(crate) fn new_log(&self) -> Result<File> {
        let log = self.log();
        if log.exists() {
            fs::rename(&log, self.dir.join("log.previous"))?;
        }
        File::create(&log).with_context(|| format!("could not write {}", log.display()))
    }

    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&text), lines)
    }
}

/// The folder of all services.
pub(crate) fn services_dir() -> PathBuf {
    repo_root().join("target/services")
}
