//! The bare limit: the HTTP/2 library, the same headers, a body that is made once but for its identity,
//! and nothing else.
//!
//! No places, no deadlines, no pool, no verdicts, no JSON: what Tidings adds is what the ratio shows.

use std::{io, sync::Arc};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use super::Settings;
use crate::{
    push::{
        simulator::{Access, Service},
        story::{identity, token},
    },
    realtime::now_us,
};

/// Bytes of the body besides `title` and `body`, so that it is as long as that of Tidings.
const DATA: &str = concat!(
    r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","seq":1,"event_id":"evt000000000000","#,
    r#""source":"bench","type":"like"}"#
);

/// What the identity of a message for FCM comes after.
const IDENTITY: &[u8] = br#""tidings_id":""#;

pub(super) struct Bare {
    service: Service,
    connections: Vec<SendRequest<Bytes>>,
    authorization: HeaderValue,
    topic: HeaderValue,
    base: String,
    /// Paths for APNs, whole bodies but for their identity for FCM: what names the device.
    devices: Vec<Bytes>,
    /// Where the identity stands in a body for FCM; the tokens before it are all of one length.
    identity_at: usize,
    body: Bytes,
}

impl Bare {
    /// Connects, and makes one push on each connection: APNs grants one stream until then.
    pub(super) async fn connect(
        settings: &Settings,
        background: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let access = &settings.access;
        let url: Uri = access.url.parse()?;
        let (host, port) = (url.host().context("a host")?, url.port_u16().context("a port")?);
        let tls = connector(access)?;
        let mut connections = Vec::new();
        for _ in 0..settings.connections {
            let tcp = TcpStream::connect((host, port)).await?;
            tcp.set_nodelay(true)?;
            let tls = tls.connect(ServerName::try_from(host.to_owned())?, tcp).await?;
            let mut builder = h2::client::Builder::new();
            builder.enable_push(false).initial_max_send_streams(1);
            let (sender, connection) = builder.handshake(tls).await?;
            background.spawn(async move { drop(connection.await) });
            connections.push(sender);
        }
        let first = connections.first().context("no connections")?;
        let authorization = match access.service {
            Service::Apns => provider_token(access)?,
            Service::Fcm => access_token(access, first).await?,
        };
        let mut authorization = HeaderValue::try_from(authorization)?;
        // As Tidings has it, and Apple asks for it: sent whole each time.
        authorization.set_sensitive(true);
        let devices: Vec<_> =
            (0..settings.devices).map(|device| device_part(settings, device)).collect();
        let this = Self {
            service: access.service,
            connections,
            authorization,
            topic: HeaderValue::try_from(&access.topic)?,
            base: access.url.clone(),
            identity_at: devices.first().map_or(0, |it| identity_in(it)),
            devices,
            body: Bytes::from(alert(settings)),
        };
        for connection in 0..this.connections.len() as u64 {
            // Under an identity that no other push has.
            let number = u64::MAX - connection;
            ensure!(this.push(connection, number).await, "the first push was not accepted");
        }
        Ok(this)
    }

    fn request(&self, number: u64) -> anyhow::Result<(Request<()>, Bytes)> {
        let index = usize::try_from(number).unwrap_or(usize::MAX) % self.devices.len();
        let device = &self.devices[index];
        let request = Request::builder().method(Method::POST);
        Ok(match self.service {
            Service::Apns => {
                let path = std::str::from_utf8(device)?;
                let mut id = HeaderValue::try_from(identity(number).to_string())?;
                id.set_sensitive(true);
                let request = request
                    .uri(format!("{}{path}", self.base))
                    .header(header::AUTHORIZATION, self.authorization.clone())
                    .header("apns-id", id)
                    .header("apns-topic", self.topic.clone())
                    .header("apns-push-type", "alert")
                    .header("apns-priority", "10")
                    .header(header::CONTENT_LENGTH, self.body.len());
                (request.body(())?, self.body.clone())
            }
            Service::Fcm => {
                let request = request
                    .uri(format!("{}/v1/projects/tidings-bench/messages:send", self.base))
                    .header(header::AUTHORIZATION, self.authorization.clone())
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::CONTENT_LENGTH, device.len());
                let mut body = BytesMut::from(&device[..]);
                let mut text = uuid::Uuid::encode_buffer();
                let identity = identity(number).hyphenated().encode_lower(&mut text);
                body.get_mut(self.identity_at..self.identity_at + identity.len())
                    .context("a body has a place for the identity")?
                    .copy_from_slice(identity.as_bytes());
                (request.body(())?, body.freeze())
            }
        })
    }

    /// Sends one push and says whether it was accepted.
    pub(super) async fn push(&self, worker: u64, number: u64) -> bool {
        self.post(worker, number).await.is_ok_and(|status| status == StatusCode::OK)
    }

    async fn post(&self, worker: u64, number: u64) -> anyhow::Result<StatusCode> {
        let index = usize::try_from(worker).unwrap_or(usize::MAX) % self.connections.len();
        let (head, body) = self.request(number)?;
        Ok(exchange(self.connections[index].clone(), head, body).await?.0)
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    head: Request<()>,
    body: Bytes,
) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let mut sender = sender.ready().await?;
    let (answer, mut stream) = sender.send_request(head, false)?;
    stream.send_data(body, true)?;
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok((head.status, body))
}

fn connector(access: &Access) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&access.ca_file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What names the device: the path of a push to APNs, the whole message to FCM.
fn device_part(settings: &Settings, device: u64) -> Bytes {
    let token = token(settings.access.service, device);
    match settings.access.service {
        Service::Apns => format!("/3/device/{token}").into(),
        Service::Fcm => {
            let Settings { title, body, .. } = settings;
            let data = DATA.replace(r#""seq":1"#, r#""seq":"1""#);
            let data = data.trim_start_matches('{');
            let identity = identity(device);
            format!(
                r#"{{"message":{{"token":"{token}","notification":{{"title":"{title}","body":"{body}"}},"data":{{"tidings_id":"{identity}",{data},"android":{{"priority":"high"}}}}}}"#
            )
            .into()
        }
    }
}

/// Where the identity begins in a body; the end of one that has none.
fn identity_in(body: &[u8]) -> usize {
    let at = body.windows(IDENTITY.len()).position(|it| it == IDENTITY);
    at.map_or(body.len(), |at| at + IDENTITY.len())
}

/// The payload of a push to APNs.
fn alert(settings: &Settings) -> String {
    let Settings { title, body, .. } = settings;
    format!(
        r#"{{"aps":{{"alert":{{"title":"{title}","body":"{body}"}},"badge":1,"sound":"default"}},"tidings":{DATA}}}"#
    )
}

fn provider_token(access: &Access) -> anyhow::Result<String> {
    let key = EncodingKey::from_ec_pem(&std::fs::read(&access.key_file)?)?;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(access.key_id.clone());
    let claims = serde_json::json!({ "iss": access.team_id, "iat": now_us() / 1_000_000 });
    Ok(format!("bearer {}", encode(&header, &claims, &key)?))
}

/// Exchanges a signed assertion for an access token, at the host that messages go to.
async fn access_token(access: &Access, sender: &SendRequest<Bytes>) -> anyhow::Result<String> {
    let account: serde_json::Value = serde_json::from_slice(&std::fs::read(&access.account_file)?)?;
    let field = |name: &str| account[name].as_str().context("a field of the account");
    let key = EncodingKey::from_rsa_pem(field("private_key")?.as_bytes())?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(field("private_key_id")?.to_owned());
    let now = now_us() / 1_000_000;
    let claims = serde_json::json!({
        "iss": field("client_email")?, "aud": field("token_uri")?, "iat": now, "exp": now + 3_600,
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
    });
    let assertion = encode(&header, &claims, &key)?;
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
    );
    let request = Request::post(field("token_uri")?)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(())?;
    let (status, body) = exchange(sender.clone(), request, form.into()).await?;
    if status != StatusCode::OK {
        bail!("no access token: {status}");
    }
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let token = answer["access_token"].as_str();
    let token = token.ok_or_else(|| io::Error::other("an answer without an access token"))?;
    Ok(format!("Bearer {token}"))
}
