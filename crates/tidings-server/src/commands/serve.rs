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
    demo,
    supervisor::SupervisorError,
    telemetry,
    wiring::Node,
};

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let mut flags = Vec::new();
    flags.extend(args.listen.map(|listen| ("server.listen", listen.to_string())));
    flags.extend(args.data_dir.map(|dir| ("store.data_dir", dir.display().to_string())));
    let sources = Sources { file: args.config.config, flags };
    let config = config::load(&sources)?;
    telemetry::init_log(&config.log)?;
    let grace = Duration::from_millis(config.server.shutdown_grace_ms);
    let beside = args.demo_page.map(demo::page).unwrap_or_default();
    let mut node = Node::start(config, beside).await?;
    let address = node.address();
    if let Some(file) = &args.address_file {
        write_address(file, &address.to_string()).context("the address file cannot be written")?;
    }
    tracing::info!(%address, docs = format!("http://{address}/docs"), "ready");
    let outcome = until_stopped(&mut node, &sources, args.stop_with_stdin).await?;
    node.stop(grace).await;
    tracing::info!("stopped");
    Ok(outcome?)
}

/// Runs until somebody asks the node to stop, or a part of it ends.
async fn until_stopped(
    node: &mut Node,
    sources: &Sources,
    with_stdin: bool,
) -> std::io::Result<Result<(), SupervisorError>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut asked_to_stop = std::pin::pin!(asked_to_stop(with_stdin));
    loop {
        tokio::select! {
            reason = &mut asked_to_stop => {
                tracing::info!(reason = reason?, "stopping");
                return Ok(Ok(()));
            }
            error = node.watch() => {
                tracing::error!(error = %ErrorChain(&error), "stopping");
                return Ok(Err(error));
            }
            _ = hangup.recv() => reload(node, sources),
        }
    }
}

/// Reads the configuration again. What cannot be used changes nothing: the node runs on as it was.
fn reload(node: &Node, sources: &Sources) {
    let reloaded = config::load(sources).map_err(anyhow::Error::from);
    if let Err(error) = reloaded.and_then(|config| node.reload(&config)) {
        tracing::error!(error = format!("{error:#}"), "the configuration is not taken over");
    }
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
