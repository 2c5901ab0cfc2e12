//! Logs and metrics.

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSection};

/// Why logs or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The level is not one that the filter understands.
    #[error("log.level is not a level or a list of directives")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed.
    #[error("the log is set up already")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The recorder cannot be built or installed.
    #[error("the metrics recorder cannot be set up")]
    Metrics(#[source] BuildError),
}

/// Sends the log to standard error, in the format that `section` says.
///
/// # Errors
///
/// [`TelemetryError`].
pub fn init_log(section: &LogSection) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&section.level).map_err(TelemetryError::Level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let json = match section.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !is_terminal,
    };
    let result = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(is_terminal).try_init()
    };
    result.map_err(TelemetryError::Log)
}

/// Bounds of the duration histograms, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds of the histograms of rows, and of groups that share something.
const ROWS: [f64; 9] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];

/// Folds what histograms have taken in, so that they stay small also when nobody asks for them.
pub async fn keep_metrics(metrics: PrometheusHandle, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    while tokio::time::timeout(EVERY, stop.cancelled()).await.is_err() {
        metrics.run_upkeep();
    }
}

/// Starts to collect metrics, once per process, and returns what renders them.
///
/// # Errors
///
/// [`TelemetryError::Metrics`].
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|it| it.set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS))
        .and_then(|it| it.set_buckets_for_metric(Matcher::Suffix("_group".to_owned()), &ROWS))
        .map_err(TelemetryError::Metrics)?
        .build_recorder();
    let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
    // A second caller at the same time finds a recorder installed: that one is as good.
    let _installed = metrics::set_global_recorder(recorder).is_ok();
    Ok(handle)
}
