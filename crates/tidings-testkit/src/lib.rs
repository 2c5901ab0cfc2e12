//! Contract suites of the ports, and the harness for the real services. A development dependency only.

pub mod services;
