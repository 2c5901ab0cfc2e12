//! A node as users run it: the real binary, on a port of its own, with data of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

/// How long a node may take to start, stop, or do what a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running `tidings serve`.
pub(crate) struct Node {
    child: Child,
    url: String,
    http: reqwest::Client,
    bearer: Option<String>,
}

/// A data directory and a configuration that outlive a node.
pub(crate) struct Site {
    dir: TempDir,
    toml: String,
    port: u16,
}

impl Site {
    /// A site with `toml` on top of the defaults.
    pub(crate) fn new(toml: &str) -> Self {
        Self::on_port(toml, 0)
    }

    /// A site whose nodes all listen on `port`.
    pub(crate) fn on_port(toml: &str, port: u16) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), toml: toml.to_owned(), port }
    }

    /// The same site with another configuration.
    pub(crate) fn with_toml(self, toml: &str) -> Self {
        Self { toml: toml.to_owned(), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self) -> (Command, PathBuf) {
        let config = self.path().join("tidings.toml");
        std::fs::write(&config, &self.toml).unwrap();
        let address = self.path().join("address");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command
            .args(["serve", "--stop-with-stdin"])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--config".as_ref(), config.as_os_str()])
            .args(["--data-dir".as_ref(), self.path().join("data").as_os_str()])
            .args(["--address-file".as_ref(), address.as_os_str()])
            .current_dir(self.path())
            .stdin(Stdio::piped());
        (command, address)
    }

    /// Starts a node here and waits until it is ready.
    pub(crate) fn start(&self) -> Node {
        let (mut command, address) = self.command();
        let _absent_before_the_first_start = std::fs::remove_file(&address).is_err();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"))
            .unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            if let Ok(address) = std::fs::read_to_string(&address) {
                break address;
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the node ended ({ended:?}):\n{}", self.log());
            assert!(Instant::now() < deadline, "the node is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        };
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Node { child, url: format!("http://{address}"), http, bearer: None }
    }

    /// Starts a node that should refuse to, and returns what it says.
    pub(crate) fn refused(&self) -> String {
        let (mut command, _) = self.command();
        let output = command.stderr(Stdio::piped()).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "the node started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

impl Node {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends every following request with this key or token.
    pub(crate) fn with_bearer(mut self, bearer: &str) -> Self {
        self.bearer = Some(bearer.to_owned());
        self
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.request(Method::POST, path).body(body).send().await.unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).body(body.to_string()).send().await.unwrap())
            .await
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the node to stop, and expects that it does so without a complaint.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the node ended with {status}");
                return;
            }
            assert!(Instant::now() < deadline, "the node does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed leaves no node behind; one that ended has reaped it already.
        let _reaped = self.child.kill().is_ok() && self.child.wait().is_ok();
    }
}

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Expects this status and returns the body.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Expects a problem and returns its kind and field.
    pub(crate) fn problem(self, status: u16) -> (String, String) {
        let content_type = self.headers.get("content-type").cloned();
        assert_eq!(content_type.as_ref().unwrap(), "application/problem+json", "{self:?}");
        let problem = self.expect(status);
        assert_eq!(problem["status"], status);
        for member in ["title", "detail"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
        }
        let kind = problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        (kind, problem["field"].as_str().unwrap_or_default().to_owned())
    }
}

/// An event for named users.
pub(crate) fn event(id: &str, users: &[&str]) -> Value {
    serde_json::json!({
        "id": id, "source": "test", "type": "like", "title": format!("title of {id}"),
        "audience": {"users": users},
    })
}
