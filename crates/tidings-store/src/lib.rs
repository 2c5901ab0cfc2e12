//! Where notifications are kept: the adapters of the store ports.
