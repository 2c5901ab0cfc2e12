//! A Neo4j of a test's own, to be killed and frozen. It ends with its owner, also when the test process
//! is killed.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tidings_graph::{Neo4jGraphConfig, Neo4jGraphStore};

/// How long it may take to start on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// Neo4j insists on eight characters.
const PASSWORD: &str = "tidings-test";

/// A server.
pub(crate) struct PrivateNeo4j {
    dir: TempDir,
    port: u16,
    process: Option<(Child, Child)>,
}

impl PrivateNeo4j {
    /// Makes a database and starts a server on it, with the jars of `cargo xtask services up neo4j`.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for folder in ["conf", "data", "plugins", "import", "logs", "run", "licenses"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let settings = format!(
            "server.default_listen_address=127.0.0.1\n\
             server.bolt.listen_address=127.0.0.1:{port}\n\
             server.bolt.advertised_address=127.0.0.1:{port}\n\
             server.http.enabled=false\nserver.https.enabled=false\n\
             server.memory.pagecache.size=32m\ndbms.usage_report.enabled=false\n\
             internal.dbms.bolt.netty_server_shutdown_quiet_period=0\n\
             db.tx_log.preallocate=false\n",
        );
        fs::write(dir.path().join("conf/neo4j.conf"), settings).unwrap();
        let mut password = java("org.neo4j.cli.AdminTool");
        password.args(["dbms", "set-initial-password", PASSWORD]);
        password.env("NEO4J_HOME", dir.path()).env("NEO4J_CONF", dir.path().join("conf"));
        let said = password.stdin(Stdio::null()).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let mut server = Self { dir, port, process: None };
        server.start_again().await;
        server
    }

    /// Starts it again after it was killed, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        let home = self.dir.path();
        let log = File::options().create(true).append(true).open(home.join("log")).unwrap();
        let mut server = java("org.neo4j.server.CommunityEntryPoint");
        server.arg(format!("--home-dir={}", home.display()));
        server.arg(format!("--config-dir={}", home.join("conf").display()));
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = server.spawn().unwrap();
        // Kills it when its standard input ends, which it does when we do.
        let mut guard = Command::new("sh");
        guard.args(["-c", r#"cat > /dev/null; kill -9 "$0" 2> /dev/null"#]);
        guard.arg(child.id().to_string()).stdin(Stdio::piped());
        self.process = Some((child, guard.spawn().unwrap()));
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = Neo4jGraphStore::open(self.config()).await {
            assert!(Instant::now() < deadline, "Neo4j does not start: {error:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) fn config(&self) -> Neo4jGraphConfig {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut config = Neo4jGraphConfig::new(format!("bolt://{address}"), "neo4j", PASSWORD);
        config.connections = 4;
        config
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let (mut child, mut guard) = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        drop((guard.kill(), guard.wait()));
    }

    /// Suspends it: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().0.id().to_string();
        // The shell's own `kill`: the program of that name is not on every machine.
        let sent = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for PrivateNeo4j {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn java(main_class: &str) -> Command {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services/neo4j/lib");
    assert!(lib.is_dir(), "Neo4j's jars are missing: run `cargo xtask services up neo4j`");
    let mut command = Command::new("java");
    command.args(["-Xms128m", "-Xmx384m", "-XX:TieredStopAtLevel=1"]);
    for package in ["java.nio", "java.io", "sun.nio.ch"] {
        command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    }
    command.arg("-Dlog4j2.disable.jmx=true").arg("-cp").arg(lib.join("*")).arg(main_class);
    command
}
