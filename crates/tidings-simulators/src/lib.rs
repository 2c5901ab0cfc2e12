//! APNs, FCM and Web Push servers that behave, and misbehave, like the real ones.
//!
//! All speak HTTP/2 over TLS (FCM and Web Push HTTP/1.1, too) on a loopback port with a certificate
//! authority of their own, check credentials, headers and bodies as Apple, Google and the RFCs document
//! them, answer with the documented
//! statuses and bodies, and keep a [`Ledger`] of everything they accepted, so that lost and doubled
//! pushes can be counted by the receiving side.
//!
//! A simulator proves what we believe of a wire, no more. Where the vendor's documentation is
//! silent, the answer chosen here is marked "inferred" at the place that gives it.
//!
//! ```no_run
//! # async fn demo() -> Result<(), tidings_simulators::SimulatorError> {
//! use tidings_simulators::{ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig};
//!
//! let credentials = ApnsCredentials::generate("TEAM000001", "KEY0000001")?;
//! let config = ApnsSimulatorConfig::new(&credentials, "com.example.app");
//! let simulator = ApnsSimulator::start(config).await?;
//! // Point a client at `simulator.url()`, trusting `simulator.ca_pem()`.
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod apns;
pub mod fcm;
pub mod webpush;

mod clock;
mod credentials;
mod device_states;
mod error;
mod faults;
mod ledger;
mod pending;
mod tls;
mod transport;

pub use apns::{ApnsSimulator, ApnsSimulatorConfig};
pub use clock::{Clock, system_clock};
pub use credentials::{ApnsCredentials, FcmCredentials};
pub use error::SimulatorError;
pub use faults::{ConnectionFaults, ExcessStreams, GoAwayForm, RequestFault};
pub use fcm::{FcmSimulator, FcmSimulatorConfig};
pub use ledger::{AcceptedPush, Ledger, LedgerConfig, LedgerCounts};
pub use tls::SimulatorTls;
pub use transport::ListenConfig;
pub use webpush::{WebPushSimulator, WebPushSimulatorConfig};
