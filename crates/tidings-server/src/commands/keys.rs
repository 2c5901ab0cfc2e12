//! `tidings keys`.

use anyhow::{Context, bail};

use crate::{
    auth::{ApiKey, Scope},
    cli::KeysCommand,
};

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Create { name, scopes } = command;
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
