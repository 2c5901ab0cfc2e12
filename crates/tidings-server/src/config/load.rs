//! Reads the configuration from its sources, later ones winning.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};

use super::{
    DEFAULT_TOML,
    check::{ConfigProblem, check},
    model::Config,
};

/// The file that is read when none is named.
const USUAL_FILE: &str = "tidings.toml";

/// Where the configuration comes from, besides the defaults and the environment.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    /// A file that has to exist; without one, `./tidings.toml` is read if it exists.
    pub file: Option<PathBuf>,
    /// Options given as flags, by their path, for example `server.listen`.
    pub flags: Vec<(&'static str, String)>,
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The named file does not exist.
    #[error("there is no configuration file {}", .0.display())]
    NoFile(PathBuf),
    /// A source cannot be read, or an option is unknown or of the wrong type.
    #[error("the configuration cannot be read")]
    Unreadable(#[source] Box<figment::Error>),
    /// Options have values that they cannot have.
    #[error("the configuration is not valid:{}", list(.0))]
    Invalid(Vec<ConfigProblem>),
}

fn list(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Reads the configuration and checks every option.
///
/// # Errors
///
/// [`ConfigError`]; all invalid options are listed at once.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Toml::string(DEFAULT_TOML));
    if let Some(file) = existing_file(sources.file.as_deref())? {
        figment = figment.merge(Toml::file_exact(file));
    }
    figment = figment.merge(Env::prefixed("TIDINGS__").split("__"));
    for (path, value) in &sources.flags {
        figment = figment.merge(Serialized::default(path, value));
    }
    let config: Config =
        figment.extract().map_err(|error| ConfigError::Unreadable(Box::new(error)))?;
    let problems = check(&config);
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
}

fn existing_file(named: Option<&Path>) -> Result<Option<&Path>, ConfigError> {
    match named {
        Some(file) if file.is_file() => Ok(Some(file)),
        Some(file) => Err(ConfigError::NoFile(file.to_owned())),
        None => Ok(Some(Path::new(USUAL_FILE)).filter(|file| file.is_file())),
    }
}
