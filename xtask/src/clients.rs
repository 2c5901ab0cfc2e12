//! Clients of push services that others wrote, against `tidings simulate`: they show whether the simulators
//! are what the world takes for APNs, FCM and Web Push.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::process::{cargo_target_dir, repo_root, run};

/// One file per client, in `tests/clients`.
const CHECKS: [&str; 6] = [
    "apns_node_apn.cjs",
    "apns_apns2.cjs",
    "apns_aioapns.py",
    "fcm_firebase_admin.cjs",
    "webpush_web_push.cjs",
    "webpush_pywebpush.py",
];

/// What has to be decrypted by `decrypt.py`: the example of RFC 8291, appendix A.
const EXAMPLE_PRIVATE_KEY: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
const EXAMPLE_AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const EXAMPLE_BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
const EXAMPLE_TEXT: &[u8] = b"When I grow up, I want to be a watermelon";

/// Installs the clients and runs their checks. The program has to be built.
pub(crate) fn test() -> Result<()> {
    let clients = Clients::install()?;
    clients.check_decryption()?;
    for check in CHECKS {
        clients.check(check).with_context(|| format!("{check} failed"))?;
    }
    Ok(())
}

/// Where the clients are installed: below `target`, so that the sources stay clean.
struct Clients {
    dir: PathBuf,
    program: PathBuf,
}

impl Clients {
    fn install() -> Result<Self> {
        let target = cargo_target_dir()?;
        let clients = Self { dir: target.join("clients"), program: target.join("debug/tidings") };
        fs::create_dir_all(&clients.dir)?;
        // Beside the installed packages, where node looks for them.
        for entry in fs::read_dir(repo_root().join("tests/clients"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), clients.dir.join(entry.file_name()))?;
            }
        }
        clients.once("package-lock.json", || {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
            run(npm.current_dir(&clients.dir)).context("the clients in JavaScript")
        })?;
        clients.once("requirements.txt", || {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(clients.venv()))?;
            let mut pip = Command::new(clients.python());
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            run(pip.arg("-r").arg(clients.dir.join("requirements.txt")))
                .context("the clients in Python")
        })?;
        Ok(clients)
    }

    /// Does something unless it was done for this content of a lock file.
    fn once(&self, lock: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
        let wanted = fs::read(self.dir.join(lock))?;
        let stamp = self.dir.join(format!("{lock}.installed"));
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        install()?;
        fs::write(stamp, wanted).context("a stamp cannot be written")
    }

    fn venv(&self) -> PathBuf {
        self.dir.join("python")
    }

    fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    /// Runs one check against simulators of its own.
    fn check(&self, name: &str) -> Result<()> {
        let out = self.dir.join("out").join(name);
        let mut simulators = Simulators::start(&self.program, &out)?;
        let facts = &simulators.facts;
        let hosts = json!({
            "api.push.apple.com": port(facts, "apns")?,
            "fcm.googleapis.com": port(facts, "fcm")?,
            "oauth2.googleapis.com": port(facts, "fcm")?,
        });
        let ca_file = out.join("ca.pem");
        let mut command = if Path::new(name).extension().is_some_and(|it| it == "py") {
            Command::new(self.python())
        } else {
            let mut node = Command::new("node");
            node.arg("--require").arg(self.dir.join("hosts.cjs"));
            node
        };
        command
            .arg(self.dir.join(name))
            .current_dir(&self.dir)
            .env("SIMULATORS", facts.to_string())
            .env("SIMULATED_HOSTS", hosts.to_string())
            .env("NODE_EXTRA_CA_CERTS", &ca_file)
            .env("REQUESTS_CA_BUNDLE", &ca_file);
        let outcome = run(&mut command);
        simulators.stop()?;
        outcome
    }

    fn check_decryption(&self) -> Result<()> {
        let mut child = Command::new(self.python())
            .arg(self.dir.join("decrypt.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("decrypt.py does not start")?;
        let given = json!({
            "private_key": EXAMPLE_PRIVATE_KEY, "auth": EXAMPLE_AUTH, "body": EXAMPLE_BODY,
        });
        let mut input = child.stdin.take().context("no input to write to")?;
        input.write_all(given.to_string().as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if output.stdout != EXAMPLE_TEXT {
            bail!("http_ece does not decrypt the example of RFC 8291");
        }
        Ok(())
    }
}

fn port(facts: &Value, service: &str) -> Result<u16> {
    let url = facts[service]["url"].as_str().unwrap_or_default();
    let port = url.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
    port.parse().with_context(|| format!("{service} does not say where it is"))
}

/// A running `tidings simulate`, which ends when its standard input does.
struct Simulators {
    child: Child,
    facts: Value,
}

impl Simulators {
    fn start(program: &Path, out: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["simulate", "all", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--json", "--stop-with-stdin", "--out"])
            .arg(out)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let output = child.stdout.take().context("no output to read")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let facts = serde_json::from_str(&line).context("the simulators did not start")?;
        Ok(Self { child, facts })
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the simulators ended with {status}");
        }
        Ok(())
    }
}
