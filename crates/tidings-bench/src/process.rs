//! What a process and its children used.

use std::{collections::BTreeMap, fs, time::Duration};

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// The CPU time since an earlier look, with the memory of now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(earlier.cpu), rss_bytes: self.rss_bytes }
    }

    /// The memory as a value of a report.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "memory stays far below 2^52 bytes")]
    pub fn rss_f64(self) -> f64 {
        self.rss_bytes as f64
    }
}

/// The clock ticks of `/proc/PID/stat`: 100 a second on every Linux that Rust supports.
const TICKS_PER_SEC: u64 = 100;

/// The usage of one process; `None` once it has ended.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    stat(pid).map(|(_, _, usage)| usage)
}

/// The parent of a process.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(parent, _, _)| parent)
}

/// The CPU time of `root`, of all its descendants that live, and of its children that have ended.
#[must_use]
pub fn cpu_of_tree(root: u32) -> Duration {
    let living: Duration = tree(root).values().map(|usage| usage.cpu).sum();
    living + ended_children(root).unwrap_or_default()
}

/// The CPU time of the children of a process that have ended and were waited for.
fn ended_children(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SEC))
}

/// The most resident memory that a process ever had, in bytes.
#[must_use]
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The usage of `root` and all its descendants that live now, by process id and name.
#[must_use]
pub fn tree(root: u32) -> BTreeMap<(u32, String), Usage> {
    let mut parents = BTreeMap::new();
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some((parent, name, usage)) = stat(pid) {
            parents.insert(pid, parent);
            stats.insert((pid, name), usage);
        }
    }
    let belongs = |mut pid: u32| loop {
        if pid == root {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) if *parent != pid => pid = *parent,
            _ => return false,
        }
    };
    stats.retain(|(pid, _), _| belongs(*pid));
    stats
}

/// Parent, command line word and usage of a process.
fn stat(pid: u32) -> Option<(u32, String, Usage)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything: fields are counted from the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let cpu = Duration::from_millis(ticks * 1000 / TICKS_PER_SEC);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = rss.and_then(|rss| rss.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let args = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let word = args.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    let name = String::from_utf8_lossy(word).into_owned();
    // One that has ended and is not waited for yet has no memory left, but its CPU time.
    let rss_bytes = kib.unwrap_or_default() * 1024;
    Some((u32::try_from(number(1)?).ok()?, name, Usage { cpu, rss_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_the_process_itself() {
        let me = std::process::id();
        assert!(tree(me).iter().any(|((pid, _), usage)| *pid == me && usage.rss_bytes > 0));
    }
}
