//! An error with its causes, for the one line of the log where it is handled.

use std::{error::Error, fmt};

/// Shows an error and its causes, outermost first, on one line.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StoreError;

    #[test]
    fn a_chain_names_every_cause() {
        let error =
            StoreError::Unavailable { op: "append", backend: "sqlite", source: "disk full".into() };
        let shown = ErrorChain(&error).to_string();
        assert_eq!(shown, "append did not reach the sqlite store: disk full");
    }
}
