//! How connections are made: the URL, TLS, and what every connection is told at its start.

use std::{fmt::Write, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tidings_core::ports::BoxError;
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::{
    config::PostgresConfig,
    error::PostgresOpenError,
    tls::{Connector, Trust},
};

/// All that is needed to make connections.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    /// `None` without TLS.
    tls: Option<Connector>,
    /// Hosts, ports and database, for people.
    pub(super) server: String,
}

/// What `sslmode` says that the driver does not know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verify {
    full: bool,
    ca: Option<std::path::PathBuf>,
}

/// Takes what the driver does not know out of the URL.
fn split_url(url: &str) -> (String, Verify) {
    let mut verify = Verify::default();
    let Some((address, options)) = url.split_once('?') else {
        return (url.to_owned(), verify);
    };
    let mut kept = Vec::new();
    for option in options.split('&') {
        match option.split_once('=') {
            Some(("sslmode", "verify-full")) => {
                verify.full = true;
                kept.push("sslmode=require");
            }
            Some(("sslrootcert", path)) => verify.ca = Some(path.into()),
            _ => kept.push(option),
        }
    }
    (format!("{address}?{}", kept.join("&")), verify)
}

impl Address {
    pub(super) fn of(config: &PostgresConfig) -> Result<Self, PostgresOpenError> {
        let (url, verify) = split_url(&config.url);
        let mut driver: Config = url.parse().map_err(|_| PostgresOpenError::Url)?;
        let ca = config.ca.clone().or(verify.ca);
        let trust = match ca {
            Some(path) => {
                let unusable = |source| PostgresOpenError::Ca { path: path.clone(), source };
                let pem = std::fs::read(&path).map_err(|error| unusable(error.into()))?;
                Trust::from_pem(&pem).map_err(unusable)?
            }
            None if verify.full => Trust::System,
            None => Trust::Anyone,
        };
        let tls = if driver.get_ssl_mode() == SslMode::Disable {
            None
        } else {
            if !matches!(trust, Trust::Anyone) {
                driver.ssl_mode(SslMode::Require);
            }
            Some(Connector::new(trust).map_err(|source| PostgresOpenError::Tls { source })?)
        };
        let options = options(config, driver.get_options().unwrap_or_default())?;
        driver
            .options(options)
            .application_name(&config.application_name)
            .connect_timeout(config.connect_timeout)
            .keepalives(true)
            .keepalives_idle(config.tcp_keepalive)
            .keepalives_interval(config.tcp_keepalive)
            .keepalives_retries(2)
            // What was sent and is not confirmed: keepalives do not count then.
            .tcp_user_timeout(config.tcp_keepalive * 3)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let server = server(&driver);
        Ok(Self { config: driver, tls, server })
    }

    /// A pool of up to `size` connections. Makes none yet.
    pub(super) fn pool(&self, config: &PostgresConfig, size: usize) -> Result<Pool, BoxError> {
        // Whether a connection still stands is known without asking: its task reads all the time.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let address = self.config.clone();
        let manager = match &self.tls {
            Some(tls) => Manager::from_config(address, tls.clone(), manager),
            None => Manager::from_config(address, NoTls, manager),
        };
        let hosts = u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .timeouts(Timeouts {
                wait: Some(config.acquire_timeout),
                // The driver's own limit is for each host, and not for what follows the connection.
                create: Some(config.connect_timeout.saturating_mul(hosts + 1)),
                recycle: None,
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(
                    async move { client.batch_execute(AT_START).await.map_err(HookError::Backend) },
                )
            }))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(pool)
    }
}

/// What is answered has to be on the disk. Another setting than `off` may say more than `on`.
const AT_START: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";

fn options(config: &PostgresConfig, given: &str) -> Result<String, PostgresOpenError> {
    let mut options = given.to_owned();
    let mut set = |name: &str, value: &str| {
        let separator = if options.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _written = write!(options, "{separator}-c {name}={value}");
    };
    set("statement_timeout", &millis(config.statement_timeout));
    set("lock_timeout", &millis(config.lock_timeout));
    set("idle_in_transaction_session_timeout", &millis(config.idle_in_transaction_timeout));
    // Every statement is one way through indexes, in the order that is given. While a table is small
    // the planner would choose others, and keep to them for a minute when it no longer is; with them
    // the order in which rows are locked would change. A page by an index is as cheap as can be, then,
    // and a row that is read in vain is dear: from some dozens of rows on nothing else is chosen.
    for name in ["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_material"] {
        set(name, "off");
    }
    set("random_page_cost", "0.01");
    set("cpu_tuple_cost", "0.03");
    set("jit", "off");
    set("plan_cache_mode", "force_generic_plan");
    if let Some(schema) = &config.schema {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=63).contains(&schema.len())
            && schema.bytes().all(plain)
            && !schema.starts_with(|first: char| first.is_ascii_digit());
        if !fits {
            return Err(PostgresOpenError::Schema { schema: schema.clone() });
        }
        set("search_path", schema);
    }
    Ok(options)
}

/// At least 1: a zero would mean no limit.
fn millis(limit: Duration) -> String {
    limit.as_millis().clamp(1, i32::MAX as u128).to_string()
}

fn server(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("database {database} on {}", hosts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_neither_debug_nor_errors() {
        for url in [
            "postgres://ann:tiger%ZZ@db/app?tiger=1",
            "postgres://ann:tiger@db:tiger/app",
            "postgres://ann:ti?ger@db/app",
        ] {
            let config = PostgresConfig::new(url);
            assert!(!format!("{config:?}").contains("ger"));
            if let Err(error) = Address::of(&config) {
                assert!(!format!("{error} {error:?}").contains("ger"), "{error:?}");
            }
        }
        let address = Address::of(&PostgresConfig::new("postgres://ann:tiger@db/app")).unwrap();
        assert_eq!(address.server, "database app on db:5432");
    }

    #[test]
    fn verify_full_is_taken_out_of_the_url() {
        let (url, verify) = split_url("postgres://db/app?a=b&sslmode=verify-full&sslrootcert=/ca");
        assert_eq!(url, "postgres://db/app?a=b&sslmode=require");
        assert_eq!(verify, Verify { full: true, ca: Some("/ca".into()) });
        let plain = "postgres://db/app?sslmode=prefer";
        assert_eq!(split_url(plain), (plain.to_owned(), Verify::default()));
    }

    #[test]
    fn a_name_that_would_break_out_of_the_options_is_no_schema() {
        for name in ["", "a b", "1a", "a-b", "A", "x;y"] {
            let mut config = PostgresConfig::new("postgres://db/app");
            config.schema = Some(name.to_owned());
            let refused = Address::of(&config).map(|it| it.server);
            assert!(matches!(refused, Err(PostgresOpenError::Schema { .. })), "{name}");
        }
    }
}
