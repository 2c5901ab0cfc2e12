//! The result of a bench: values, ratios, and where they come from.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::{collections::BTreeMap, path::Path, process::Command};

use serde::Serialize;

/// The result of a bench.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub bench: &'static str,
    /// The commit that was measured, with `+` if the tree was changed.
    pub commit: String,
    /// Processor, cores and memory.
    pub machine: String,
    /// The day, in UTC.
    pub date: String,
    /// Medians over the rounds.
    pub values: BTreeMap<String, f64>,
    /// What to quote: our value over that of a contender in the same run.
    pub ratios: Ratios,
}

/// Ratios of medians.
#[derive(Debug, Default, Serialize)]
pub struct Ratios {
    /// Ours over the bare limit.
    pub of_limit: BTreeMap<String, f64>,
    /// Ours over a peer's.
    pub vs_peer: BTreeMap<String, f64>,
}

impl Report {
    /// An empty report of this machine and commit.
    #[must_use]
    pub fn new(bench: &'static str) -> Self {
        Self {
            bench,
            commit: commit(),
            machine: machine(),
            date: output("date", &["-u", "+%Y-%m-%d"]),
            values: BTreeMap::new(),
            ratios: Ratios::default(),
        }
    }

    /// Notes a value.
    pub fn put(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Prints it as a table.
    pub fn print(&self) {
        println!("{} at {} on {}, {}", self.bench, self.commit, self.date, self.machine);
        for (name, value) in &self.values {
            println!("  {name:<34} {value:>16.3}");
        }
        for (name, ratio) in &self.ratios.of_limit {
            println!("  of the bare limit: {name:<15} {ratio:>16.3}");
        }
        for (name, ratio) in &self.ratios.vs_peer {
            println!("  of the peer: {name:<21} {ratio:>16.3}");
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        std::fs::write(file, json)?;
        Ok(())
    }
}

/// The middle value; the mean of the two in the middle for an even number; 0 for none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => 0.0,
        values if values.len() % 2 == 1 => values[middle],
        values => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.ok().filter(|it| it.status.success()).map(|it| it.stdout);
    String::from_utf8_lossy(&text.unwrap_or_default()).trim().to_owned()
}

fn commit() -> String {
    // Wherever it is started.
    let checkout = env!("CARGO_MANIFEST_DIR");
    let commit = output("git", &["-C", checkout, "rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["-C", checkout, "status", "--porcelain"]).is_empty();
    if changed { format!("{commit}+") } else { commit }
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = field("/proc/cpuinfo", "model name");
    format!("{cpu}, {cores} cores, memory {}", field("/proc/meminfo", "MemTotal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }
}
