//! `tidings token`.

use std::time::Duration;

use anyhow::{Context, bail};
use tidings_core::{
    clock::{Clock, SystemClock},
    ids::UserId,
};

use super::config::load;
use crate::{auth::mint_hs256, cli::TokenArgs};

pub(super) fn run(args: &TokenArgs) -> anyhow::Result<()> {
    let tokens = load(&args.config)?.auth.tokens;
    if tokens.hs256_secret.is_empty() {
        bail!(
            "auth.tokens.hs256_secret is not set; with another way of checking tokens, your app \
             makes them"
        );
    }
    let user = UserId::new(&args.user).context("--user is not a user id")?;
    let now = SystemClock.now();
    let expires_at = now.after(Duration::from_secs(args.ttl));
    super::print(&format!("{}\n", mint_hs256(&tokens, &user, now, expires_at)?))
}
