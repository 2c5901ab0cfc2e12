//! `tidings migrate`.

use anyhow::bail;

use super::config::load;
use crate::{cli::ConfigArgs, telemetry};

pub(super) async fn run(args: ConfigArgs) -> anyhow::Result<()> {
    let config = load(&args)?;
    telemetry::init_log(&config.log)?;
    let section = &config.store.postgres;
    if section.url.is_empty() {
        bail!("store.postgres.url is not set; the embedded store is migrated when a node starts");
    }
    bail!("PostgreSQL is not built in")
}
