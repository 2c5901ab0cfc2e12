//! A PostgreSQL of the run's own, which may be stopped.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::{
    endpoints::{HOST, POSTGRES_USER},
    postgres::Database,
};
use crate::process;

/// The user that the server runs as when we are root, which it refuses to be.
const SERVER_USER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills it.
pub(super) struct PrivatePostgres {
    child: Child,
    pid: u32,
    pub(super) database: Database,
    /// Outlives the server: fields are dropped in this order.
    _dir: TempDir,
}

impl PrivatePostgres {
    /// Makes a cluster with Debian's defaults and starts it.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("tidings-bench-postgres-").tempdir()?;
        let (data, log_file) = (dir.path().join("data"), dir.path().join("log"));
        make_cluster(dir.path(), &data).await?;
        let port = TcpListener::bind((HOST, 0))?.local_addr()?.port();
        let log = fs::File::create(&log_file)?;
        let mut child = as_server_user("postgres")?
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", &format!("listen_addresses={HOST}")])
            .args(["-c", "unix_socket_directories="])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("PostgreSQL cannot be started")?;
        let pid = child.id().context("PostgreSQL ended at once")?;
        let url = format!("postgres://{POSTGRES_USER}@{HOST}:{port}/postgres");
        let begun = Instant::now();
        let database = loop {
            match Database::open("postgres", &url).await {
                Ok(database) => break database,
                Err(error) if begun.elapsed() > START_TIMEOUT => return Err(error),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended ({status}):\n{}", super::bench::last_lines(&log_file));
            }
        };
        Ok(Self { child, pid, database, _dir: dir })
    }

    /// Stops all its processes where they are: it answers nobody, and nobody is told.
    pub(super) fn freeze(&self) -> anyhow::Result<()> {
        ensure!(self.signal("-STOP"), "PostgreSQL was not stopped");
        Ok(())
    }

    /// Lets them go on.
    pub(super) fn thaw(&self) -> anyhow::Result<()> {
        ensure!(self.signal("-CONT"), "PostgreSQL does not go on");
        Ok(())
    }

    fn signal(&self, signal: &str) -> bool {
        // The first process goes first: it makes no new ones once it is stopped.
        let others = process::tree(self.pid).into_keys().map(|(pid, _)| pid);
        let pids = std::iter::once(self.pid).chain(others.filter(|pid| *pid != self.pid));
        let mut kill = std::process::Command::new("kill");
        kill.arg(signal).args(pids.map(|pid| pid.to_string()));
        kill.status().is_ok_and(|status| status.success())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // Its children end when they see that the first process has, which they must be able to.
        let _going_on = self.signal("-CONT");
        let _killed = self.child.start_kill().is_ok();
    }
}

async fn make_cluster(dir: &Path, data: &Path) -> anyhow::Result<()> {
    fs::create_dir(data)?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
    if is_root() {
        // Its own folder it has to reach.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
        let owner = format!("{SERVER_USER}:{SERVER_USER}");
        run(Command::new("chown").arg(owner).arg(data)).await?;
    }
    run(as_server_user("initdb")?
        .arg("-D")
        .arg(data)
        .args(["--username", POSTGRES_USER, "--auth=trust"])
        .args(["--encoding=UTF8", "--locale=C.UTF-8"]))
    .await
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}):\n{said}", output.status);
    Ok(())
}

fn as_server_user(program: &str) -> anyhow::Result<Command> {
    let program = server_program(program)?;
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    // Our working directory may be closed to the server's user.
    command.current_dir("/");
    Ok(command)
}

/// Debian keeps the programs off `PATH`, by version.
fn server_program(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|folder| {
            let version: u32 = folder.file_name().to_str()?.parse().ok()?;
            let program = folder.path().join("bin").join(name);
            program.is_file().then_some((version, program))
        })
        .max();
    newest.map(|(_, program)| program).with_context(|| format!("{name} is not installed"))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}
