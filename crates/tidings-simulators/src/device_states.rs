//! What tests have said about device tokens.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::SimulatorError;

/// A bounded table from device token, or pattern of tokens, to state. A token that is not in it is
/// live.
#[derive(Debug)]
pub(crate) struct DeviceStates<S> {
    limit: usize,
    table: RwLock<Table<S>>,
}

#[derive(Debug)]
struct Table<S> {
    exact: HashMap<Box<str>, S>,
    /// Asked in order after `exact`: the first that fits counts.
    patterns: Vec<(Box<str>, S)>,
}

impl<S: Clone> DeviceStates<S> {
    pub(crate) fn new(limit: usize) -> Self {
        let table = Table { exact: HashMap::new(), patterns: Vec::new() };
        Self { limit, table: RwLock::new(table) }
    }

    /// Puts a state; a `*` in `token` stands for any characters, also none.
    pub(crate) fn put(&self, token: &str, state: S) -> Result<(), SimulatorError> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let full = table.exact.len() + table.patterns.len() >= self.limit;
        let refused = SimulatorError::TooManyDeviceStates { limit: self.limit };
        if !token.contains('*') {
            if full && !table.exact.contains_key(token) {
                return Err(refused);
            }
            table.exact.insert(token.into(), state);
            return Ok(());
        }
        match table.patterns.iter_mut().find(|(pattern, _)| **pattern == *token) {
            Some((_, known)) => *known = state,
            None if full => return Err(refused),
            None => table.patterns.push((token.into(), state)),
        }
        Ok(())
    }

    pub(crate) fn remove(&self, token: &str) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.exact.remove(token);
        table.patterns.retain(|(pattern, _)| **pattern != *token);
    }

    pub(crate) fn find(&self, token: &str) -> Option<S> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let exact = table.exact.get(token);
        let fitting = || table.patterns.iter().find(|(it, _)| fits(it, token)).map(|(_, it)| it);
        exact.or_else(fitting).cloned()
    }
}

/// Whether `text` fits a pattern with `*` in it.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        // Only the last part has to end the text; the earliest place is right for those before it.
        if let Some(part) = last.replace(part) {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last: &str| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, fit) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "axbxbc", true),
            ("*dead*", "00dead00", true),
            ("a*", "ba", false),
            ("*c", "cb", false),
            ("ab*bc", "abc", false),
            ("*dead*", "00de0ad", false),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }
}
