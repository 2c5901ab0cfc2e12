//! A PostgreSQL server of a test's own, which may be killed, frozen and started again.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// The user that the server runs as when we are root, which it refuses to be.
const SERVER_USER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server. Dropping it kills it.
pub(crate) struct PrivatePostgres {
    dir: TempDir,
    port: u16,
    server: Option<Child>,
    /// The certificate of the authority that has signed the server's, as PEM.
    pub(crate) ca_pem: String,
}

impl PrivatePostgres {
    /// Makes a cluster with a certificate for `localhost` and starts it. Over TCP without TLS only
    /// the user `plain` gets in, with it everyone.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("tidings-postgres-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let ca_pem = {
            give(&data);
            run(as_server_user("initdb").arg("-D").arg(&data).args([
                "--username=plain",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]));
            let hba = "hostnossl all plain all trust\nhostssl all all all trust\n";
            fs::write(data.join("pg_hba.conf"), hba).unwrap();
            make_certificate(&data)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut postgres = Self { dir, port, server: None, ca_pem };
        postgres.start_again().await;
        postgres
    }

    /// The URL for the user `plain`, with these options.
    pub(crate) fn url(&self, options: &str) -> String {
        format!("postgres://plain@localhost:{}/postgres?{options}", self.port)
    }

    /// Starts the server that was killed, and waits until it lets in.
    pub(crate) async fn start_again(&mut self) {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let server = as_server_user("postgres")
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=localhost", "-c", "unix_socket_directories="])
            .args(["-c", "ssl=on"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(server.unwrap());
        let started = Instant::now();
        let url = self.url("sslmode=disable");
        while tokio_postgres::connect(&url, NoTls).await.is_err() {
            assert!(started.elapsed() < START_TIMEOUT, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Ends the server as a crash does: every process at once, nothing flushed, nobody told.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        if let Some(mut server) = self.server.take() {
            server.wait().unwrap();
        }
        // The kernel closes its port with it; what it had locked in shared memory is seen as stale.
        let _gone = fs::remove_file(self.dir.path().join("data/postmaster.pid"));
    }

    /// Stops all its processes where they are: it accepts, and answers nobody.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let Some(server) = &self.server else {
            return;
        };
        // The first process goes first: it makes no new ones then.
        let pids = std::iter::once(server.id()).chain(children(server.id()));
        let pids = pids.map(|pid| pid.to_string());
        // One of them may have ended meanwhile.
        let _sent = Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status();
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        if after.split(' ').nth(1).and_then(|it| it.parse().ok()) == Some(parent) {
            children.push(pid);
        }
    }
    children
}

/// Makes an authority and a certificate that it has signed; returns the former.
fn make_certificate(data: &Path) -> String {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    for (name, pem) in [("server.crt", server.pem()), ("server.key", key.serialize_pem())] {
        let path = data.join(name);
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }
    authority.pem()
}

/// Gives a path to the server's user, if that is another one.
fn give(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg(format!("{SERVER_USER}:{SERVER_USER}")).arg(path));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
}

fn as_server_user(program: &str) -> Command {
    let program = server_program(program);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    // Our working directory may be closed to the server's user.
    command.current_dir("/");
    command
}

/// Debian keeps the programs off `PATH`, by version.
fn server_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name));
    let mut programs: Vec<_> = programs.filter(|it| it.is_file()).collect();
    programs.sort();
    programs.pop().unwrap_or_else(|| name.into())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}
