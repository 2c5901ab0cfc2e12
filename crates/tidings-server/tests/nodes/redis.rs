//! A Redis of a test's own, to be stopped, killed and frozen. It ends with its owner, also when the test
//! process is killed.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{process::signal, until::until};

pub(crate) struct PrivateRedis {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<(Child, Child)>,
}

impl PrivateRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a cluster of one server.
    pub(crate) async fn start_cluster() -> Self {
        let redis = Self::start_with(&["--cluster-enabled", "yes"]).await;
        redis.tell("CLUSTER ADDSLOTSRANGE 0 16383");
        until("the cluster has its slots", async || {
            redis.ask("CLUSTER INFO").contains("cluster_state:ok")
        })
        .await;
        redis
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut redis = Self { dir, port, arguments, process: None };
        redis.start_again().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it again after it was stopped or killed.
    pub(crate) async fn start_again(&mut self) {
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        server.args(["--save", "", "--appendonly", "no", "--dir"]).arg(self.dir.path());
        let server = server.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let server = server.spawn().unwrap_or_else(|error| panic!("redis-server: {error}"));
        // Kills it when its own standard input ends, which it does when we do.
        let mut guard = Command::new("sh");
        guard.args(["-c", r#"cat > /dev/null; kill -9 "$0" 2> /dev/null"#]);
        let guard = guard.arg(server.id().to_string()).stdin(Stdio::piped()).spawn().unwrap();
        self.process = Some((server, guard));
        let port = self.port;
        until("Redis answers", async || {
            TcpStream::connect(("127.0.0.1", port)).is_ok() && self.ask("PING").contains("PONG")
        })
        .await;
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Sends a command that is answered with OK.
    pub(crate) fn tell(&self, command: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
    }

    /// Ends the connections of those who listen, as it does when they do not read fast enough.
    pub(crate) fn cut_off_subscribers(&self, expected: usize) {
        let answer = self.ask("CLIENT KILL TYPE pubsub");
        assert!(answer.starts_with(&format!(":{expected}\r\n")), "{answer}");
    }

    pub(crate) fn freeze(&self) {
        signal(self.process.as_ref().unwrap().0.id(), "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(self.process.as_ref().unwrap().0.id(), "CONT");
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) {
        self.end("TERM");
    }

    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, how: &str) {
        let (mut server, mut guard) = self.process.take().unwrap();
        signal(server.id(), how);
        server.wait().unwrap();
        drop((guard.kill(), guard.wait()));
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if let Some((mut server, mut guard)) = self.process.take() {
            drop((server.kill(), server.wait()));
            drop((guard.kill(), guard.wait()));
        }
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
