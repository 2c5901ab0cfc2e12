//! `tidings config`.

use crate::{
    cli::{ConfigArgs, ConfigCommand},
    config::{self, Config, DEFAULT_TOML, Sources},
};

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => {
            load(args)?;
            super::print("the configuration is valid\n")?;
        }
        ConfigCommand::Print(args) => super::print(&toml::to_string_pretty(&load(args)?)?)?,
        ConfigCommand::Default => super::print(DEFAULT_TOML)?,
        ConfigCommand::Docs => super::print(&config::reference_markdown())?,
    }
    Ok(())
}

pub(super) fn load(args: &ConfigArgs) -> Result<Config, config::ConfigError> {
    config::load(&Sources { file: args.config.clone(), flags: Vec::new() })
}
