//! `tidings migrate`.
#![expect(clippy::print_stdout, reason = "a command prints its results")]

use anyhow::bail;

use super::config::load;
use crate::{cli::ConfigArgs, telemetry, wiring};

pub(super) async fn run(args: ConfigArgs) -> anyhow::Result<()> {
    let config = load(&args)?;
    telemetry::init_log(&config.log)?;
    let section = &config.store.postgres;
    if section.url.is_empty() {
        bail!(
            "store.postgres.url is not set: the embedded store is brought up to date when a node \
             starts"
        );
    }
    let version = wiring::migrate_postgres(section).await?;
    println!("the schema is at version {version}");
    Ok(())
}
