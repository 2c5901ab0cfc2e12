//! `tidings serve`.

use std::{path::Path, time::Duration};

use anyhow::Context;
use tidings_core::error_chain::ErrorChain;
use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::ServeArgs,
    config::{self, Sources},
    demo, telemetry,
    wiring::Node,
};

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut flags = Vec::new();
    flags.extend(args.listen.map(|listen| ("server.listen", listen.to_string())));
    flags.extend(args.data_dir.map(|dir| ("store.data_dir", dir.display().to_string())));
    let config = config::load(&Sources { file: args.config.config, flags })?;
    telemetry::init_log(&config.log)?;
    let grace = Duration::from_millis(config.server.shutdown_grace_ms);
    let beside = args.demo_page.map(demo::page).unwrap_or_default();
    let mut node = Node::start(config, beside).await?;
    let address = node.address();
    if let Some(file) = &args.address_file {
        write_address(file, &address.to_string()).context("the address file cannot be written")?;
    }
    tracing::info!(%address, docs = format!("http://{address}/docs"), "ready");
    let outcome = tokio::select! {
        reason = asked_to_stop(args.stop_with_stdin) => {
            tracing::info!(reason = reason?, "stopping");
            Ok(())
        }
        error = node.watch() => {
            tracing::error!(error = %ErrorChain(&error), "stopping");
            Err(error)
        }
    };
    node.stop(grace).await;
    tracing::info!("stopped");
    Ok(outcome?)
}

/// Writes through a second name, so that a reader never sees half an address.
fn write_address(file: &Path, address: &str) -> std::io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".part");
    std::fs::write(&partial, address)?;
    std::fs::rename(&partial, file)
}

/// Waits for SIGTERM or SIGINT, or for the end of standard input if that is asked for, and says which it
/// was.
pub(super) async fn asked_to_stop(with_stdin: bool) -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stdin_ends = async {
        if !with_stdin {
            return std::future::pending().await;
        }
        let mut stdin = tokio::io::stdin();
        let mut ignored = [0; 256];
        while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
    };
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stdin_ends => "standard input ended",
    })
}
