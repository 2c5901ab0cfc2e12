//! A Redis of a test's own, to be killed, frozen and emptied. It ends with its owner, also when the test
//! process is killed.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::scene::until;

pub(crate) struct PrivateRedis {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<(Child, Child)>,
}

impl PrivateRedis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--appendonly", "no"]).await
    }

    /// With other options: `--appendonly` has to be among them.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut redis = Self { dir, port, arguments, process: None };
        redis.start_again().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it again after it was killed.
    pub(crate) async fn start_again(&mut self) {
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        server.args(["--save", "", "--dir"]).arg(self.dir.path());
        let server = server.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let server = server.spawn().unwrap_or_else(|error| panic!("redis-server: {error}"));
        // Kills it when its own standard input ends, which it does when we do.
        let mut guard = Command::new("sh");
        guard.args(["-c", r#"cat > /dev/null; kill -9 "$0" 2> /dev/null"#]);
        let guard = guard.arg(server.id().to_string()).stdin(Stdio::piped()).spawn().unwrap();
        self.process = Some((server, guard));
        until("Redis answers", async || self.ask("PING").contains("PONG")).await;
    }

    /// What it answers; nothing if it cannot be reached.
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
        answer
    }

    /// Sends a command that is answered with OK.
    pub(crate) fn tell(&self, command: &str) {
        let answer = self.ask(command);
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
    }

    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().0.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success(), "kill -s {signal} {id}");
    }

    pub(crate) fn kill(&mut self) {
        let (mut server, mut guard) = self.process.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        drop((guard.kill(), guard.wait()));
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
