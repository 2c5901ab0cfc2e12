//! `tidings keys`.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, bail};
use tidings_delivery::push::VapidKey;

use crate::{
    auth::{ApiKey, Scope},
    cli::KeysCommand,
};

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create { name, scopes } => create(name, scopes),
        KeysCommand::Vapid { out } => vapid(out),
    }
}

fn create(name: &str, scopes: &[String]) -> anyhow::Result<()> {
    let known = Scope::ALL.map(Scope::as_str);
    if let Some(unknown) = scopes.iter().find(|scope| !known.contains(&scope.as_str())) {
        bail!("there is no scope {unknown:?}; there are {}", known.join(", "));
    }
    let scopes: Vec<&str> = if scopes.is_empty() {
        known.to_vec()
    } else {
        scopes.iter().map(String::as_str).collect()
    };
    let key = ApiKey::generate().context("the operating system has no random numbers")?;
    super::print(&format!(
        "Your key, shown this once:\n\n  {}\n\nPut this into the configuration:\n\n\
         [[auth.keys]]\nname = {name:?}\nsha256 = {:?}\nscopes = {scopes:?}\n",
        key.expose(),
        key.digest_hex()
    ))
}

fn vapid(out: &Path) -> anyhow::Result<()> {
    let key = VapidKey::generate()?;
    let failed = || format!("{} cannot be written", out.display());
    // For its owner only, and never over another key.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(failed)?;
    file.write_all(format!("{}\n", key.private_key_base64url()?).as_bytes())
        .with_context(failed)?;
    super::print(&format!(
        "The private key is in {out}: keep it, and keep it secret.\n\n\
         The public key, for pushManager.subscribe({{ applicationServerKey }}) in your web app:\n\n  \
         {public}\n\nPut this into the configuration:\n\n\
         [push.webpush]\nkey_file = {out:?}\nsubject = \"mailto:you@example.com\"\n",
        out = out.display().to_string(),
        public = key.public_key_base64url(),
    ))
}
