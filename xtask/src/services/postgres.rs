//! PostgreSQL, from Debian's package, with a cluster of its own.
//!
//! The server refuses to run as root. Started by root, it runs as the user `postgres`, which the
//! package makes, and its data goes where that user can reach it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::endpoints::{HOST, POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_PORT, POSTGRES_USER};
use super::home::Home;
use super::pidfile::OwnProcess;
use crate::process::{bounded, capture, find_program, is_root, repo_root, run};

/// The user that the server runs as when we are root.
const SERVER_USER: &str = "postgres";

/// Finds the newest server on the machine: Debian keeps its programs off `PATH`.
pub(crate) fn server_program(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|folder| {
            let version: u32 = folder.file_name().to_str()?.parse().ok()?;
            let program = folder.path().join("bin").join(name);
            program.is_file().then_some((version, program))
        })
        .max();
    newest.map(|(_, program)| program).or_else(|| find_program(name))
}

/// Makes the cluster if there is none, and returns the command that starts the server.
pub(crate) fn prepare(home: &Home) -> Result<Command> {
    let data = usable_data_dir(home)?;
    if !data.join("PG_VERSION").exists() {
        create_cluster(&data)?;
    }
    unlock_for_the_living(&data)?;
    let mut command = as_server_user(&program("postgres")?);
    command
        .arg("-D")
        .arg(&data)
        .args(["-p", &POSTGRES_PORT.to_string()])
        .args(["-c", &format!("listen_addresses={HOST}")])
        // No socket file: its usual folder belongs to Debian's own cluster.
        .args(["-c", "unix_socket_directories="])
        .args(["-c", "max_connections=200"]);
    Ok(command)
}

/// Asks the server for `SELECT 1`.
pub(crate) fn probe() -> Result<()> {
    let target =
        format!("host={HOST} port={POSTGRES_PORT} user={POSTGRES_USER} dbname={POSTGRES_DATABASE}");
    let answer = capture(
        bounded("psql")
            .args(["-XAtq", "-c", "select 1", &target])
            .env("PGPASSWORD", POSTGRES_PASSWORD),
    )?;
    ensure!(answer.trim_ascii() == b"1", "unexpected answer to SELECT 1");
    Ok(())
}

/// Removes the cluster, wherever it is.
pub(crate) fn wipe(home: &Home) -> Result<()> {
    super::lifecycle::remove_dir(&home.data())?;
    super::lifecycle::remove_dir(&public_parent())
}

fn program(name: &str) -> Result<PathBuf> {
    server_program(name).with_context(|| format!("{name} is not installed"))
}

fn as_server_user(program: &Path) -> Command {
    // Its own working directory may be closed to the server's user.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Returns the data folder, made and given to the server's user.
///
/// That is `target/services/postgres/data`, unless we are root in a checkout that the server's user
/// cannot enter, as below `/root`: then it is a folder of this checkout's own below `/var/tmp`.
fn usable_data_dir(home: &Home) -> Result<PathBuf> {
    let below_target = home.data();
    if !is_root() {
        fs::create_dir_all(&below_target)?;
        fs::set_permissions(&below_target, fs::Permissions::from_mode(0o700))?;
        return Ok(below_target);
    }
    give_to_server_user(&below_target)?;
    if can_enter(&below_target)? {
        return Ok(below_target);
    }
    let parent = public_parent();
    if !parent.exists() {
        fs::create_dir(&parent)?;
    }
    // Anyone may write to /var/tmp: do not follow what another user has put there.
    let found = fs::symlink_metadata(&parent)?;
    if !found.is_dir() || found.uid() != 0 {
        bail!("{} is there and is not root's: remove it", parent.display());
    }
    let public = parent.join("data");
    give_to_server_user(&public)?;
    ensure!(can_enter(&public)?, "user {SERVER_USER} cannot enter {}", public.display());
    Ok(public)
}

fn give_to_server_user(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    run(Command::new("chown").arg(format!("{SERVER_USER}:{SERVER_USER}")).arg(dir))
}

fn can_enter(dir: &Path) -> Result<bool> {
    let mut test = as_server_user(Path::new("test"));
    let status = test.arg("-w").arg(dir).status().context("could not start setpriv")?;
    Ok(status.success())
}

/// A folder below `/var/tmp` that no other checkout on this machine uses.
fn public_parent() -> PathBuf {
    // FNV-1a: stable over builds, which the standard library's hasher does not promise.
    let path = repo_root();
    let hash =
        path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    PathBuf::from(format!("/var/tmp/tidings-postgres-{hash:016x}"))
}

/// Runs initdb and makes the tests' database.
fn create_cluster(data: &Path) -> Result<()> {
    // A start that was interrupted leaves half a cluster, which initdb would refuse.
    for left in fs::read_dir(data)? {
        let left = left?.path();
        if left.is_dir() {
            fs::remove_dir_all(left)?;
        } else {
            fs::remove_file(left)?;
        }
    }
    // initdb takes the password from a file only, which must be beside the folder and not in it.
    let password = data.with_file_name("password");
    fs::write(&password, format!("{POSTGRES_PASSWORD}\n"))?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644))?;
    capture(
        as_server_user(&program("initdb")?)
            .arg("-D")
            .arg(data)
            .args(["--username", POSTGRES_USER, "--auth=scram-sha-256", "--pwfile"])
            .arg(&password)
            .args(["--encoding=UTF8", "--locale=C.UTF-8"]),
    )?;
    let mut single_user = as_server_user(&program("postgres")?);
    single_user.args(["--single", "-D"]).arg(data).arg("postgres");
    run_with_input(&mut single_user, &format!("CREATE DATABASE {POSTGRES_DATABASE};\n"))
}

/// Removes the lock file of a server that was killed and that nobody has waited for: the server
/// takes such a process for a living one.
///
/// Children that outlive the killed server are still found, by the shared memory they hold.
fn unlock_for_the_living(data: &Path) -> Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    if pid.and_then(OwnProcess::observe).is_none() {
        fs::remove_file(lock)?;
    }
    Ok(())
}

/// Feeds `input` to `command`, whose own words are shown only if it fails.
fn run_with_input(command: &mut Command, input: &str) -> Result<()> {
    let name = crate::process::show(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {name}"))?;
    // Short enough for the pipe's buffer, so this cannot wait for a reader that waits for us.
    let mut stdin = child.stdin.take().context("the child has no input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}):\n{said}", output.status);
    }
    Ok(())
}
