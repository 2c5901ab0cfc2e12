//! `tidings simulate`.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::Path, time::Duration};

use super::serve;
use crate::cli::{SimulateArgs, SimulatedService};
use anyhow::Context;
use serde_json::{Map, Value, json};
use tidings_simulators::{
    ApnsCredentials, ApnsSimulator, ApnsSimulatorConfig, ControlApi, ControlTargets,
    FcmCredentials, FcmSimulator, FcmSimulatorConfig, ListenConfig, SimulatorTls, VapidCredentials,
    WebPushSimulator, WebPushSimulatorConfig,
    apns::{ApnsCertificate, ApnsCertificateRequest},
    fcm::FcmQuota,
};

const TEAM: &str = "SIMTEAM001";
const KEY: &str = "SIMKEY0001";

/// The services that run, and what was written for their clients.
#[derive(Default)]
struct Running {
    apns: Option<ApnsSimulator>,
    fcm: Option<FcmSimulator>,
    webpush: Option<WebPushSimulator>,
    /// By name; the control hands them out, too.
    files: BTreeMap<String, String>,
    /// Sections of `tidings.toml`.
    settings: String,
    /// What `--json` prints.
    facts: Map<String, Value>,
}

pub(super) async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be made", args.out.display()))?;
    let out = args.out.canonicalize().context("the directory of --out cannot be found")?;
    let running = start(&args, &out).await?;
    for (name, text) in &running.files {
        std::fs::write(out.join(name), text)
            .with_context(|| format!("{name} cannot be written"))?;
    }
    let targets = ControlTargets {
        apns: running.apns.as_ref(),
        fcm: running.fcm.as_ref(),
        webpush: running.webpush.as_ref(),
        credentials: running.files.clone(),
    };
    let control =
        ControlApi::start(args.control, targets).await.context("the control cannot start")?;
    super::print(&announcement(&args, &running, &out, &control.url()))?;
    serve::asked_to_stop(args.stop_with_stdin).await?;
    control.stop().await;
    running.stop().await;
    Ok(())
}

async fn start(args: &SimulateArgs, out: &Path) -> anyhow::Result<Running> {
    let tls = SimulatorTls::generate()?;
    let latency = Duration::from_millis(args.latency_ms);
    let wanted = |service| args.service == service || args.service == SimulatedService::All;
    let mut running = Running::default();
    running.files.insert("ca.pem".into(), tls.ca_pem().into());
    let mut listen = args.listen;
    if wanted(SimulatedService::Apns) {
        running.start_apns(args, take_address(&mut listen), &tls, out).await?;
    }
    if wanted(SimulatedService::Fcm) {
        running.start_fcm(args, take_address(&mut listen), &tls, out).await?;
    }
    if wanted(SimulatedService::Webpush) {
        running.start_webpush(take_address(&mut listen), &tls, out).await?;
    }
    let apns = running.apns.iter().map(|it| it.control().connections());
    let fcm = running.fcm.iter().map(|it| it.control().connections());
    let webpush = running.webpush.iter().map(|it| it.control().connections());
    for connections in apns.chain(fcm).chain(webpush) {
        connections.set_latency(latency);
    }
    running.files.insert("tidings.toml".into(), running.settings.clone());
    Ok(running)
}

/// The address for the next service; port 0 stays 0.
fn take_address(next: &mut SocketAddr) -> ListenConfig {
    let address = *next;
    if address.port() != 0 {
        next.set_port(address.port().saturating_add(1));
    }
    ListenConfig { address, ..ListenConfig::default() }
}

impl Running {
    async fn start_apns(
        &mut self,
        args: &SimulateArgs,
        listen: ListenConfig,
        tls: &SimulatorTls,
        out: &Path,
    ) -> anyhow::Result<()> {
        let credentials = ApnsCredentials::generate(TEAM, KEY)?;
        let mut config = ApnsSimulatorConfig::new(&credentials, &args.topic);
        config.listen = listen;
        config.tls = Some(tls.clone());
        let apns = ApnsSimulator::start(config).await.context("APNs cannot start")?;
        let certificate = ApnsCertificate::issue(tls, &ApnsCertificateRequest::new(&args.topic))?;
        let url = apns.url();
        let facts = json!({
            "url": url, "topic": args.topic, "key_id": KEY, "team_id": TEAM,
        });
        let both = format!("{}{}", certificate.certificate_pem, certificate.private_key_pem);
        self.files.insert("apns.p8".into(), credentials.p8_pem);
        self.files.insert("apns.json".into(), facts.to_string());
        self.files.insert("apns-certificate.pem".into(), both);
        self.facts.insert("apns".into(), facts);
        let (key_file, ca_file) = (out.join("apns.p8"), out.join("ca.pem"));
        write!(
            self.settings,
            "[push.apns]\nkey_file = {key_file:?}\nkey_id = \"{KEY}\"\nteam_id = \"{TEAM}\"\n\
             endpoint = \"{url}\"\nca_file = {ca_file:?}\n\n",
        )?;
        self.apns = Some(apns);
        Ok(())
    }

    async fn start_fcm(
        &mut self,
        args: &SimulateArgs,
        listen: ListenConfig,
        tls: &SimulatorTls,
        out: &Path,
    ) -> anyhow::Result<()> {
        let credentials = FcmCredentials::generate(&args.project)?;
        let mut config = FcmSimulatorConfig::new(&credentials);
        config.listen = listen;
        config.tls = Some(tls.clone());
        config.further_audiences.push("https://oauth2.googleapis.com/token".into());
        if args.unlimited {
            config.quota = FcmQuota::UNLIMITED;
        }
        let fcm = FcmSimulator::start(config).await.context("FCM cannot start")?;
        let url = fcm.url();
        let account = credentials.service_account_json(&fcm.token_uri());
        self.files.insert("fcm-service-account.json".into(), account);
        let facts = json!({ "url": url, "project_id": args.project });
        self.facts.insert("fcm".into(), facts);
        let (account_file, ca_file) = (out.join("fcm-service-account.json"), out.join("ca.pem"));
        write!(
            self.settings,
            "[push.fcm]\nservice_account_file = {account_file:?}\nendpoint = \"{url}\"\n\
             ca_file = {ca_file:?}\n\n",
        )?;
        self.fcm = Some(fcm);
        Ok(())
    }

    async fn start_webpush(
        &mut self,
        listen: ListenConfig,
        tls: &SimulatorTls,
        out: &Path,
    ) -> anyhow::Result<()> {
        let credentials = VapidCredentials::generate()?;
        let mut config = WebPushSimulatorConfig::new();
        config.listen = listen;
        config.tls = Some(tls.clone());
        let webpush = WebPushSimulator::start(config).await.context("Web Push cannot start")?;
        let keys = json!({
            "publicKey": credentials.public_key, "privateKey": credentials.private_key,
        });
        self.files.insert("vapid.pem".into(), credentials.private_key_pem);
        self.files.insert("vapid.json".into(), keys.to_string());
        let facts = json!({
            "url": webpush.url(), "application_server_key": credentials.public_key,
        });
        self.facts.insert("webpush".into(), facts);
        let (key_file, ca_file) = (out.join("vapid.pem"), out.join("ca.pem"));
        write!(
            self.settings,
            "[push.webpush]\nkey_file = {key_file:?}\nsubject = \"mailto:push@example.com\"\n\
             allow_loopback = true\nca_file = {ca_file:?}\n",
        )?;
        self.webpush = Some(webpush);
        Ok(())
    }

    async fn stop(self) {
        if let Some(apns) = self.apns {
            apns.stop().await;
        }
        if let Some(fcm) = self.fcm {
            fcm.stop().await;
        }
        if let Some(webpush) = self.webpush {
            webpush.stop().await;
        }
    }
}

fn announcement(args: &SimulateArgs, running: &Running, out: &Path, control: &str) -> String {
    if args.json {
        let mut facts = running.facts.clone();
        facts.insert("control".into(), control.into());
        facts.insert("out".into(), out.to_string_lossy().into());
        return format!("{}\n", Value::Object(facts));
    }
    let mut text = String::new();
    for (name, facts) in &running.facts {
        let url = facts["url"].as_str().unwrap_or_default();
        text.push_str(&format!("{name:<8} {url}\n"));
    }
    let settings = out.join("tidings.toml");
    format!(
        "{text}control  {control}\n\nKeys, certificates and settings are in {}. Push to them with\n\n  \
         tidings serve --config {}\n\nand see what arrives with\n\n  \
         curl -N {control}/apns/ledger/stream\n\nCtrl-C stops.\n",
        out.display(),
        settings.display(),
    )
}
