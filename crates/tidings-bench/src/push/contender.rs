//! Who pushes: Tidings' clients, the bare limit, and the clients of others.

use std::{fmt, path::PathBuf, process::Stdio};

use tokio::process::Command;

use super::{
    helper::Helper,
    load::{Client, Settings},
    simulator::{Access, Service},
    story::DEVICES,
};
use crate::{
    ingest::{Bench, repo_root},
    realtime::own_process,
};

/// What all pushes say.
const TITLE: &str = "Ann liked your photo";
const BODY: &str = "Sunset over the bay";

/// Whom the bench compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    Tidings,
    /// The HTTP/2 library alone, over so many connections.
    Bare(u32),
    /// sideshow/apns2 and go-fcm.
    GoPush,
    /// apns2 on Node.js.
    Apns2,
    Aioapns,
}

/// Pushes that aioapns gets at a time: of thousands it gives some up, and ends with an error.
const AIOAPNS_IN_FLIGHT: u32 = 500;

impl Contender {
    const ALL: [Self; 6] =
        [Self::Tidings, Self::Bare(1), Self::Bare(4), Self::GoPush, Self::Apns2, Self::Aioapns];

    /// All that push to this service.
    pub(super) fn of(service: Service) -> Vec<Self> {
        let only_apns = |who: &Self| matches!(who, Self::Apns2 | Self::Aioapns);
        Self::ALL.into_iter().filter(|who| service == Service::Apns || !only_apns(who)).collect()
    }

    /// What the names of its values begin with, after the service.
    pub(super) fn prefix(self) -> String {
        match self {
            Self::Tidings => String::new(),
            Self::Bare(connections) => format!("limit_{connections}_"),
            Self::GoPush => "go_".to_owned(),
            Self::Apns2 => "apns2_".to_owned(),
            Self::Aioapns => "aioapns_".to_owned(),
        }
    }

    pub(super) fn is_limit(self) -> bool {
        matches!(self, Self::Bare(_))
    }

    pub(super) fn is_peer(self) -> bool {
        matches!(self, Self::GoPush | Self::Apns2 | Self::Aioapns)
    }

    /// Starts it, pushing; `None` if it is not installed.
    pub(super) async fn start(
        self,
        bench: &Bench,
        access: &Access,
        in_flight: u32,
    ) -> anyhow::Result<Option<Helper>> {
        let (client, connections) = match self {
            Self::Tidings => (Client::Tidings, 4),
            Self::Bare(connections) => (Client::Bare, connections),
            Self::GoPush | Self::Apns2 | Self::Aioapns => (Client::Other, 4),
        };
        let in_flight =
            if self == Self::Aioapns { in_flight.min(AIOAPNS_IN_FLIGHT) } else { in_flight };
        let settings = Settings {
            access: access.clone(),
            client,
            in_flight,
            connections,
            devices: DEVICES,
            title: TITLE.to_owned(),
            body: BODY.to_owned(),
        };
        let child = match self {
            Self::Tidings | Self::Bare(_) => own_process("push-load")?,
            Self::GoPush | Self::Apns2 | Self::Aioapns => {
                let Some(mut command) = self.command() else {
                    bench.say(format_args!(
                        "{self} is not installed, and is left out: `cargo xtask peers` installs it"
                    ));
                    return Ok(None);
                };
                command
                    .env("NODE_EXTRA_CA_CERTS", &access.ca_file)
                    .env("SSL_CERT_FILE", &access.ca_file)
                    // A group of its own: Ctrl-C is for the bench, which then ends it.
                    .process_group(0)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .kill_on_drop(true)
                    .spawn()?
            }
        };
        Ok(Some(Helper::take(&self.to_string(), child, &settings).await?))
    }

    /// How the program of a peer is started; `None` if it is not installed.
    fn command(self) -> Option<Command> {
        let installed = |path: &str| {
            let path = repo_root().join("target/peers").join(path);
            path.canonicalize().ok()
        };
        let script = |path: &str| -> PathBuf { repo_root().join("deploy/peers").join(path) };
        let mut command;
        match self {
            Self::Tidings | Self::Bare(_) => return None,
            Self::GoPush => command = Command::new(installed("go-push/bin/push")?),
            Self::Apns2 => {
                let dir = installed("apns2")?;
                installed("apns2/node_modules/apns2")?;
                command = Command::new("node");
                command.arg(script("apns2/push.mjs").canonicalize().ok()?).current_dir(dir);
            }
            Self::Aioapns => {
                installed("aioapns/installed.txt")?;
                // Not its real path: that is the system's Python, which knows no aioapns.
                command = Command::new(repo_root().join("target/peers/aioapns/bin/python"));
                command.arg(script("aioapns/push.py").canonicalize().ok()?);
            }
        }
        Some(command)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tidings => f.write_str("Tidings"),
            Self::Bare(1) => f.write_str("the limit, one connection"),
            Self::Bare(connections) => write!(f, "the limit, {connections} connections"),
            Self::GoPush => f.write_str("go-push"),
            Self::Apns2 => f.write_str("apns2"),
            Self::Aioapns => f.write_str("aioapns"),
        }
    }
}
