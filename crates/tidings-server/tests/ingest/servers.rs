//! Servers of a test's own, to be stopped, killed and frozen. They end with their owner, also when the
//! test process is killed.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    process::signal,
    until::{DEADLINE, until},
};

/// The user that PostgreSQL runs as when we are root, which it refuses.
const POSTGRES_USER: &str = "postgres";

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a command to its end; shows what it said if it fails.
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// A process that ends with us.
struct Process {
    child: Child,
    /// Kills it when its standard input ends, which it does when we do.
    guard: Child,
}

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let said = log.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(said).stderr(log).spawn().unwrap();
        let mut guard = Command::new("sh");
        // Its children too: a PostgreSQL that is frozen keeps them, and they keep its data directory.
        let kill =
            r#"cat > /dev/null; kill -9 "$0" $(cat /proc/"$0"/task/"$0"/children) 2> /dev/null"#;
        guard.args(["-c", kill]);
        guard.arg(child.id().to_string()).stdin(Stdio::piped());
        Self { child, guard: guard.spawn().unwrap() }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// It and the processes that it started.
    fn family(&self) -> Vec<u32> {
        let is_child = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name stands in parentheses and may hold anything: count from the last one.
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            parent.is_some_and(|it| it == self.id().to_string())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
        std::iter::once(self.id()).chain(pids.filter(is_child)).collect()
    }

    /// Sends a signal to all of the family that there still are.
    fn tell_family(&self, name: &str) {
        for pid in self.family() {
            let mut kill = Command::new("sh");
            kill.args(["-c", r#"kill -s "$0" "$1" 2> /dev/null || true"#, name]);
            run(kill.arg(pid.to_string()));
        }
    }

    fn end(mut self, how: &str) {
        if how == "KILL" {
            // At once, the whole family: as when the machine goes down.
            self.tell_family("KILL");
        } else {
            signal(self.id(), how);
        }
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Frozen ones do not notice that the first of them has gone.
            self.tell_family("KILL");
        }
        // One that has ended and was waited for needs neither.
        drop((self.child.kill(), self.child.wait()));
        drop((self.guard.kill(), self.guard.wait()));
    }
}

/// A PostgreSQL server.
pub(crate) struct PrivatePostgres {
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts a server on it.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The server's user has to get through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            let owner = format!("{POSTGRES_USER}:{POSTGRES_USER}");
            run(Command::new("chown").arg(owner).arg(&data));
        }
        let mut initdb = as_server_user("initdb");
        initdb.arg("-D").arg(&data).args(["--username", "tidings", "--auth=trust"]);
        run(initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]));
        let mut server = Self { dir, port: free_port(), process: None };
        server.start_again().await;
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of a database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("postgres://tidings@{}/postgres", self.address())
    }

    /// Starts it again after it was stopped or killed.
    pub(crate) async fn start_again(&mut self) {
        self.process = Some(self.spawn());
        let url = self.url();
        let deadline = Instant::now() + DEADLINE;
        while tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err() {
            assert!(Instant::now() < deadline, "waited in vain: PostgreSQL answers");
            // While the last process of a killed one is still going, a new one gives up.
            if self.process.as_mut().is_some_and(Process::has_ended) {
                self.process = Some(self.spawn());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&self) -> Process {
        let mut server = as_server_user("postgres");
        server.arg("-D").arg(self.dir.path().join("data"));
        server.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"]);
        Process::start(server, &self.dir.path().join("log"))
    }

    /// Stops it in good order, though without waiting for clients.
    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().end("INT");
    }

    /// Kills it and everything that belongs to it.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().end("KILL");
    }

    /// Suspends it: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        let process = self.process.as_ref().unwrap();
        // The first of them first: it starts no others then.
        signal(process.id(), "STOP");
        process.tell_family("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.process.as_ref().unwrap().tell_family("CONT");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A program of the newest PostgreSQL: Debian keeps them off `PATH`.
fn as_server_user(program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|it| Some((it.file_name().to_str()?.parse::<u32>().ok()?, it.path())))
        .max();
    let program = newest.map_or(PathBuf::from(program), |(_, it)| it.join("bin").join(program));
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", POSTGRES_USER, "--regid", POSTGRES_USER, "--init-groups", "--"]);
    command.arg(program).current_dir("/");
    command
}

/// A Kafka broker.
pub(crate) struct PrivateKafka {
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

/// A second door of a broker, with TLS, a password (SCRAM) and rights. Who comes in by the first may do
/// everything.
pub(crate) struct SecuredDoor {
    /// `bootstrap.servers`.
    pub(crate) brokers: String,
    /// The certificate that the broker's is signed by.
    pub(crate) ca_file: PathBuf,
}

impl SecuredDoor {
    /// Makes the certificates in `dir`, and gives the broker's options for them.
    fn make(dir: &Path) -> (Self, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (ca_file, keys) = (dir.join("ca.pem"), dir.join("broker.pem"));
        fs::write(&ca_file, issuer.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(&keys, key.serialize_pem() + &certificate.pem()).unwrap();
        let brokers = format!("localhost:{}", free_port());
        let login = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let properties = format!(
            "listener.name.secured.ssl.keystore.type=PEM\n\
             listener.name.secured.ssl.keystore.location={}\n\
             listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.secured.scram-sha-512.sasl.jaas.config={login}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n",
            keys.display(),
        );
        (Self { brokers, ca_file }, properties)
    }
}

impl PrivateKafka {
    /// Starts a broker with the jars of `cargo xtask services up kafka`.
    pub(crate) async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), "", "", "", &[]).await
    }

    /// The same with a secured door for `user`, who has no rights yet.
    pub(crate) async fn start_secured(user: &str, password: &str) -> (Self, SecuredDoor) {
        let dir = tempfile::tempdir().unwrap();
        let (door, properties) = SecuredDoor::make(dir.path());
        let listener = format!(",SECURED://{}", door.brokers);
        let scram = format!("SCRAM-SHA-512=[name={user},password={password}]");
        let users = ["--add-scram", &scram];
        let broker = Self::start_with(dir, &listener, ",SECURED:SASL_SSL", &properties, &users);
        (broker.await, door)
    }

    async fn start_with(
        dir: TempDir,
        listener: &str,
        protocol: &str,
        more: &str,
        format_with: &[&str],
    ) -> Self {
        let (port, controller) = (free_port(), free_port());
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listener}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listener}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocol}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n\
             auto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n\
             log.cleaner.dedupe.buffer.size=16777216\n{more}",
            dir.path().join("data").display(),
        );
        let file = dir.path().join("server.properties");
        fs::write(&file, properties).unwrap();
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "dGlkaW5ncy1pbmdlc3QtdA", "--config"]).arg(file);
        run(format.args(format_with));
        let mut broker = Self { dir, port, process: None };
        broker.start_again().await;
        broker
    }

    /// `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it again after it was stopped or killed.
    pub(crate) async fn start_again(&mut self) {
        let mut broker = java("kafka.Kafka");
        broker.arg(self.dir.path().join("server.properties"));
        self.process = Some(Process::start(broker, &self.dir.path().join("log")));
        let brokers = self.brokers();
        until("Kafka answers", async || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", &brokers).set("group.id", "probe");
            let probe: BaseConsumer = config.create().unwrap();
            let asked = move || {
                let metadata = probe.fetch_metadata(None, Duration::from_secs(1));
                metadata.is_ok_and(|it| !it.brokers().is_empty())
            };
            tokio::task::spawn_blocking(asked).await.unwrap()
        })
        .await;
    }

    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().end("TERM");
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().end("KILL");
    }
}

fn java(main_class: &str) -> Command {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services/kafka/lib");
    assert!(lib.is_dir(), "Kafka's jars are missing: run `cargo xtask services up kafka`");
    let mut command = Command::new("java");
    command.args(["-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(lib.join("*")).arg(main_class);
    command
}
