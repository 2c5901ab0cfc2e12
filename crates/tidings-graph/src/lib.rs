//! Who follows whom: the adapters of the social graph port.
