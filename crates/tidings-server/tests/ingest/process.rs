//! What is done to processes, and what they use.

use std::process::Command;

/// Sends a signal by its name, as in `KILL`; fails the test if there is no such process.
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own `kill`: the program of that name is not on every machine.
    let mut kill = Command::new("sh");
    let status = kill.args(["-c", r#"kill -s "$0" "$1""#, name]).arg(pid.to_string()).status();
    assert!(status.unwrap().success(), "process {pid} got no SIG{name}");
}

/// The memory that a process holds at the moment.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
