//! The configuration reference, made from the default file.

use std::fmt::Write;

use super::DEFAULT_TOML;

/// The reference as Markdown: a section per table, an entry per option with its default and comment.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Generated from `config/tidings.default.toml` by `cargo xtask generate`; edit that file.\n\n",
    );
    let mut comment: Vec<&str> = Vec::new();
    for line in DEFAULT_TOML.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        } else if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            push(&mut out, &format!("## `[{table}]`\n\n{}", paragraphs(&comment)));
            comment.clear();
        } else if let Some((option, default)) = line.split_once(" = ") {
            push(&mut out, &format!("### `{option}`\n\n{}", paragraphs(&comment)));
            push(&mut out, &format!("Default: `{default}`\n\n"));
            comment.clear();
        } else if !comment.is_empty() {
            // A blank line after a comment: the introduction of the file.
            push(&mut out, &paragraphs(&comment));
            comment.clear();
        }
    }
    out
}

fn push(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _infallible = out.write_str(text).is_ok();
}

/// Keeps indented lines of a comment as code, joins the others.
fn paragraphs(comment: &[&str]) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for line in comment {
        let is_code = line.starts_with("  ");
        if is_code != in_code && !(line.is_empty() && in_code) {
            push(&mut out, if is_code { "```text\n" } else { "```\n" });
            in_code = is_code;
        }
        push(&mut out, line.strip_prefix("  ").unwrap_or(line));
        out.push('\n');
    }
    if in_code {
        push(&mut out, "```\n");
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
