//! A connection to one run of one server.

use redis::{Cmd, RedisResult, aio::MultiplexedConnection};
use sha2::{Digest, Sha256};
use tidings_core::ids::GraphId;
use tokio::time::Instant;

use super::{
    super::{
        answer::Answer,
        resident::with_jitter,
        scope::{SCOPES, Scope, Snapshot, Standing},
    },
    Mark,
    connect::Timing,
    scripts::Scripts,
};

/// What the bytes of keys and values mean. Another number for every change of them.
const FORMAT: u8 = 1;
/// The longest version, and the shortest value with a mark.
const VERSION_BYTES: usize = 8;
/// Keys that one script takes: it keeps the server from all others for a fraction of a millisecond.
const KEYS: usize = 250;

/// An answer that is to be kept for all nodes.
pub(in super::super) struct Fill {
    pub(in super::super) scopes: Vec<Scope>,
    pub(in super::super) snapshot: Snapshot,
    pub(in super::super) name: std::sync::Arc<[u8]>,
    pub(in super::super) answer: Answer,
}

/// What the server answers to a sign of life.
pub(super) struct Beat {
    /// Its clock, in milliseconds.
    pub(super) now: u64,
    /// Whether there is an epoch.
    pub(super) is_open: bool,
    /// Since when it has known of nodes, by its clock; not known of a sign of life that came too late.
    /// Another time than before: it has lost everything.
    pub(super) born: Option<u64>,
}

/// A connection to one run of one server: when the server starts again, it is another, and so are the
/// names of all keys.
pub(in super::super) struct Link {
    connection: MultiplexedConnection,
    scripts: Scripts,
    /// The server's own id of its run.
    run: String,
    prefix: Vec<u8>,
    /// Key of the questions that are asked most, which outlives a run.
    busiest: Vec<u8>,
    timing: Timing,
}

impl Link {
    pub(super) async fn new(
        mut connection: MultiplexedConnection,
        (prefix, graph): (&str, GraphId),
        timing: Timing,
    ) -> RedisResult<Self> {
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let Some(run) = run.map(str::trim).filter(|run| !run.is_empty()) else {
            return Err((redis::ErrorKind::UnexpectedReturnType, "INFO names no run_id").into());
        };
        let scripts = Scripts::load(&mut connection).await?;
        let digest = Sha256::digest(format!("{FORMAT} {graph} {run}"));
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            connection,
            scripts,
            run: run.to_owned(),
            prefix: format!("{prefix}:graph:{short}:").into_bytes(),
            busiest: format!("{prefix}:graph:{graph}:{FORMAT}:busiest").into_bytes(),
            timing,
        })
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    fn key(&self, name: &[u8]) -> Vec<u8> {
        [&self.prefix, name].concat()
    }

    fn scope_key(&self, scope: &Scope) -> Vec<u8> {
        let mut key = self.prefix.clone();
        scope.put_name(&mut key);
        key
    }

    /// The keys of an answer's versions: of the epoch, the graph, and the scopes.
    fn version_keys(&self, scopes: &[Scope]) -> Vec<Vec<u8>> {
        let scopes = std::iter::once(&Scope::Graph).chain(scopes);
        std::iter::once(self.key(b"e")).chain(scopes.map(|it| self.scope_key(it))).collect()
    }

    pub(super) async fn look(
        &self,
        scopes: &[Scope],
        name: Option<&[u8]>,
    ) -> RedisResult<(Standing, Option<Vec<u8>>)> {
        let keys = self.version_keys(scopes);
        let mut command = redis::cmd("MGET");
        command.arg(&keys);
        if let Some(name) = name {
            command.arg(self.key(name));
        }
        let mut values: Vec<Option<Vec<u8>>> = self.ask(&command).await?;
        let entry = if values.len() > keys.len() { values.pop().flatten() } else { None };
        let mut values: Vec<_> = values.into_iter().map(Option::unwrap_or_default).collect();
        let is_open = values.first().is_some_and(|epoch| !epoch.is_empty());
        if is_open && values.iter().any(|value| value.len() != VERSION_BYTES) {
            let mut open = self.script(&self.scripts.open, &keys);
            open.arg(&random()[..]).arg(millis(self.timing.scope_ttl));
            values = self.ask(&open).await?;
        }
        Ok((standing(&values), entry))
    }

    pub(super) async fn fetch(&self, name: &[u8]) -> RedisResult<Option<Vec<u8>>> {
        self.ask(redis::cmd("GET").arg(self.key(name))).await
    }

    /// Marks scopes; says whether nobody else has.
    pub(super) async fn mark(&self, scopes: &[Scope], mark: &Mark) -> RedisResult<bool> {
        let lease = self.timing.write_lease;
        let commands = scopes.chunks(KEYS).map(|scopes| {
            let mut command = self.script_of(&self.scripts.mark, scopes);
            command.arg(&mark.operation.to_be_bytes()[..]).arg(&mark.version.to_be_bytes()[..]);
            // A mark that the key did not outlive would be none.
            command.arg(millis(lease)).arg(millis(self.timing.scope_ttl.max(lease * 2)));
            command
        });
        self.sum(commands).await.map(|others| others == 0)
    }

    /// Takes a mark away; says whether nobody else has written to the scopes since.
    pub(super) async fn settle(&self, scopes: &[Scope], mark: &Mark) -> RedisResult<bool> {
        let ttl = self.timing.scope_ttl.max(self.timing.write_lease * 2);
        let commands = scopes.chunks(KEYS).map(|scopes| {
            let mut command = self.script_of(&self.scripts.settle, scopes);
            command.arg(&mark.operation.to_be_bytes()[..]).arg(&mark.version.to_be_bytes()[..]);
            command.arg(&random()[..]).arg(millis(ttl));
            command
        });
        self.sum(commands).await.map(|others| others == 0)
    }

    /// Gives scopes new versions.
    pub(super) async fn renew(&self, scopes: &[Scope]) -> RedisResult<()> {
        // Settling a mark that nobody has made takes none away.
        self.settle(scopes, &Mark::new()).await.map(drop)
    }

    /// Keeps answers; gives how many had versions that were still the current ones.
    pub(in super::super) async fn fill(&self, fills: &[Fill]) -> RedisResult<u64> {
        let commands = fills.iter().map(|fill| {
            let mut keys = self.version_keys(&fill.scopes);
            keys.push(self.key(&fill.name));
            let mut command = self.script(&self.scripts.fill, &keys);
            for version in &fill.snapshot.0[..keys.len() - 1] {
                command.arg(&version.to_be_bytes()[..]);
            }
            let mut entry = fill.snapshot.to_bytes().to_vec();
            entry.extend_from_slice(&fill.answer);
            command.arg(entry).arg(millis(with_jitter(self.timing.ttl)));
            command.arg(millis(self.timing.scope_ttl));
            command
        });
        self.sum(commands).await
    }

    /// Gives a sign of life that counts until `latest` by the server's clock.
    pub(super) async fn beat(&self, node: u64, latest: u64) -> RedisResult<Beat> {
        let mut command = self.script(&self.scripts.beat, &[self.key(b"e"), self.key(b"n")]);
        command.arg(node).arg(millis(self.timing.lease)).arg(millis(self.timing.hold));
        command.arg(&random()[..]).arg(latest);
        let (now, is_open, born) = self.ask(&command).await?;
        Ok(Beat { now, is_open, born: Some(born).filter(|born| *born > 0) })
    }

    pub(super) async fn leave(&self, node: u64) -> RedisResult<()> {
        let mut command = self.script(&self.scripts.leave, &[self.key(b"n")]);
        self.ask(command.arg(node)).await
    }

    /// The server's clock, in milliseconds, and when it can have been read at the latest.
    pub(super) async fn time(&self) -> RedisResult<(u64, Instant)> {
        let (secs, micros): (u64, u64) = self.ask(&redis::cmd("TIME")).await?;
        Ok((secs * 1_000 + micros / 1_000, Instant::now()))
    }

    /// Adds to how often questions were asked, and forgets all but `most`.
    pub(in super::super) async fn note_busiest(
        &self,
        asked: &[(std::sync::Arc<[u8]>, u32)],
        most: usize,
    ) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        let key = &self.busiest[..];
        // What was asked long ago counts for less and less.
        pipe.cmd("ZUNIONSTORE").arg(key).arg(1).arg(key).arg("WEIGHTS").arg(0.99).ignore();
        for (name, times) in asked {
            pipe.cmd("ZINCRBY").arg(key).arg(*times).arg(&name[..]).ignore();
        }
        let keep = i64::try_from(most).unwrap_or(i64::MAX - 1);
        pipe.cmd("ZREMRANGEBYRANK").arg(key).arg(0).arg(-keep - 1).ignore();
        pipe.cmd("EXPIRE").arg(key).arg(7 * 86_400).ignore();
        pipe.exec_async(&mut self.connection.clone()).await
    }

    /// The questions that were asked most.
    pub(in super::super) async fn busiest(&self, most: usize) -> RedisResult<Vec<Vec<u8>>> {
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(&self.busiest[..]).arg(0).arg(most.saturating_sub(1));
        self.ask(&command).await
    }

    fn script(&self, digest: &str, keys: &[Vec<u8>]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(digest).arg(keys.len()).arg(keys);
        command
    }

    fn script_of(&self, digest: &str, scopes: &[Scope]) -> Cmd {
        let keys: Vec<_> = scopes.iter().map(|scope| self.scope_key(scope)).collect();
        self.script(digest, &keys)
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// Sends commands at once and adds up their answers.
    async fn sum(&self, commands: impl Iterator<Item = Cmd>) -> RedisResult<u64> {
        let mut pipe = redis::pipe();
        commands.for_each(|command| _ = pipe.add_command(command));
        if pipe.is_empty() {
            return Ok(0);
        }
        let sums: Vec<u64> = pipe.query_async(&mut self.connection.clone()).await?;
        Ok(sums.iter().sum())
    }
}

/// What the values of the epoch, the graph and the scopes say.
fn standing(values: &[Vec<u8>]) -> Standing {
    let mut versions = [0; SCOPES + 2];
    if values.first().is_none_or(Vec::is_empty) {
        return Standing::Closed;
    }
    for (to, value) in versions.iter_mut().zip(values) {
        let Ok(version) = <[u8; VERSION_BYTES]>::try_from(&value[..]) else {
            return Standing::Marked;
        };
        *to = u64::from_be_bytes(version);
    }
    Standing::Current(Snapshot(versions))
}

fn random() -> [u8; VERSION_BYTES] {
    rand::random()
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
