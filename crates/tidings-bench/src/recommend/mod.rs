//! Whom to follow: what it costs and how good it is.

mod features;

pub use self::features::main as features;
