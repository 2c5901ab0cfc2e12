//! Which process is ours: a pid, and the moment it started.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::capture;

/// A process that we started, told apart from a later one that got the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnProcess {
    pub(crate) pid: u32,
    /// Clock ticks from the machine's start to the process's.
    started_ticks: u64,
}

impl OwnProcess {
    /// Notes the living process `pid`; `None` if it is gone already.
    pub(crate) fn observe(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started_ticks = parse_stat(&stat)?;
        Some(Self { pid, started_ticks })
    }

    /// Reads the pid file; `None` if there is none or the process it names no longer lives.
    pub(crate) fn load(pid_file: &Path) -> Option<Self> {
        let text = fs::read_to_string(pid_file).ok()?;
        let (pid, started_ticks) = text.trim().split_once(' ')?;
        let noted = Self { pid: pid.parse().ok()?, started_ticks: started_ticks.parse().ok()? };
        noted.is_alive().then_some(noted)
    }

    /// Writes the pid file.
    pub(crate) fn save(self, pid_file: &Path) -> Result<()> {
        fs::write(pid_file, format!("{} {}\n", self.pid, self.started_ticks))
            .with_context(|| format!("could not write {}", pid_file.display()))
    }

    /// Whether this very process still runs. One that ended but was not waited for does not count.
    pub(crate) fn is_alive(self) -> bool {
        Self::observe(self.pid) == Some(self)
    }

    /// Sends a signal by its name, as in `TERM`; fine if the process has ended meanwhile.
    pub(crate) fn signal(self, name: &str) -> Result<()> {
        // The shell's own `kill`: the program of that name is not on every machine.
        let mut kill = Command::new("sh");
        kill.args(["-c", r#"kill -s "$0" "$1""#, name]).arg(self.pid.to_string());
        match capture(&mut kill) {
            Err(error) if self.is_alive() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The start time in `/proc/PID/stat`, or `None` for a dead process or text that is not that file's.
fn parse_stat(stat: &str) -> Option<u64> {
    // The program's name stands in parentheses and may hold anything, so count from the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{OwnProcess, parse_stat};

    #[test]
    fn the_start_time_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8812 9 10";
        assert_eq!(parse_stat(stat), Some(8812));
    }

    #[test]
    fn a_process_that_ended_but_was_not_waited_for_is_dead() {
        let stat = "7 (x) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8812 9 10";
        assert_eq!(parse_stat(stat), None);
    }

    #[test]
    fn a_reused_pid_is_not_taken_for_our_process() {
        let own = OwnProcess::observe(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!OwnProcess { started_ticks: own.started_ticks + 1, ..own }.is_alive());
    }
}
