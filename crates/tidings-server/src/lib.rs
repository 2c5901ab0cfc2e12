//! Tidings tells people what happened: the server library and the one binary.
