//! No secret is shown: not by `Debug`, not by an error, not by our log.

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex, OnceLock},
};

use tidings_core::{
    clock::{Clock, SystemClock},
    device::Platform,
    ports::PushProvider,
};
use tidings_delivery::push::{
    ApnsAuth, ApnsCertificate, ApnsClient, ApnsConfig, FcmClient, SecretText,
};
use tidings_simulators::{FcmCredentials, apns::ApnsDeviceState};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::harness::{Apns, Fcm, KEY, TEAM, push, token};

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Collects all that is logged from now on.
///
/// For the whole process: a subscriber of one thread misses what another thread met first. The other
/// tests must not log secrets either.
pub(crate) fn log_everything() {
    LOG.get_or_init(|| {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("tidings_delivery=trace"))
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    });
}

/// What was logged so far.
pub(crate) fn logged() -> String {
    let log = LOG.get().expect("it is collected");
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

/// The lines of a key that say something, and everything else that must stay inside.
fn secrets(apns: &Apns, fcm: &Fcm, certificate_key: &str) -> Vec<String> {
    let keys = [&fcm.credentials.private_key_pem, &apns.credentials.p8_pem, certificate_key];
    let lines = keys.into_iter().flat_map(|key| key.lines());
    let mut secrets: Vec<_> =
        lines.filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
    // The start of every JWT, of access tokens, and of every PEM file.
    secrets.extend(["eyJ", "ya29.", "PRIVATE KEY"].map(str::to_owned));
    secrets.extend([Platform::Apns, Platform::Fcm].map(|platform| token(platform, 77_777)));
    secrets
}

#[tokio::test]
async fn neither_keys_nor_tokens_are_shown_anywhere() {
    log_everything();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (apns, mut fcm) =
        (Apns::start(Arc::clone(&clock)).await, Fcm::start(Arc::clone(&clock)).await);
    let mut shown = String::new();
    let (to_apple, to_google) = (push(Platform::Apns, 77_777), push(Platform::Fcm, 77_777));
    write!(shown, "{:?} {:?} {to_apple:?} {to_google:?}", apns.config, fcm.config).unwrap();

    let apple = apns.client(Arc::clone(&clock));
    let google = fcm.client(Arc::clone(&clock));
    write!(shown, "{:?} {:?}", apple.send(&to_apple).await, google.send(&to_google).await).unwrap();
    let control = apns.simulator.control();
    control.set_device(&token(Platform::Apns, 77_777), ApnsDeviceState::BadDeviceToken).unwrap();
    control.connections().kill_before_answer(1);
    fcm.simulator.control().revoke_access_tokens();
    fcm.simulator.control().fail_next_token_requests(1);
    write!(shown, "{:?} {:?}", apple.send(&to_apple).await, google.send(&to_google).await).unwrap();

    let other = FcmCredentials::generate("a-project").unwrap();
    let account =
        FcmCredentials { private_key_pem: other.private_key_pem, ..fcm.credentials.clone() };
    let account = account.service_account_json(&fcm.simulator.token_uri());
    let good = std::mem::replace(&mut fcm.config.service_account_json, SecretText::new(account));
    write!(shown, "{:?}", fcm.client(Arc::clone(&clock)).send(&to_google).await).unwrap();

    // Files that are taken for another, or cut short.
    let auth =
        ApnsAuth::Token { key_pem: good.clone(), key_id: KEY.to_owned(), team_id: TEAM.to_owned() };
    let config = ApnsConfig { auth, ..apns.config.clone() };
    let error = ApnsClient::new(config, Arc::clone(&clock)).map(drop).unwrap_err();
    write!(shown, "{error} {error:?}").unwrap();
    let mut config = fcm.config.clone();
    for wrong in [
        SecretText::new(apns.credentials.p8_pem.clone()),
        SecretText::new(format!("{:?}", fcm.credentials.private_key_pem)),
        SecretText::new(
            serde_json::json!({"project_id": fcm.credentials.private_key_pem}).to_string(),
        ),
    ] {
        config.service_account_json = wrong;
        let error = FcmClient::new(config.clone(), Arc::clone(&clock)).map(drop).unwrap_err();
        write!(shown, "{error} {error:?}").unwrap();
    }

    // A certificate for APNs: as it is, with the key of another, and with a file in the wrong place.
    let certificate_key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    let certificate_pem = params.self_signed(&certificate_key).unwrap().pem();
    let key_pem = certificate_key.serialize_pem();
    let read = |certificate: &str, key: &str| {
        ApnsCertificate::from_pem(certificate, &SecretText::new(key.to_owned()))
    };
    let certificate = read(&certificate_pem, &key_pem).unwrap();
    let config = ApnsConfig { auth: ApnsAuth::Certificate(certificate), ..apns.config.clone() };
    write!(shown, "{config:?}").unwrap();
    let client = ApnsClient::new(config, Arc::clone(&clock)).unwrap();
    write!(shown, "{:?}", client.send(&to_apple).await).unwrap();
    let another = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (certificate, key) in [
        (&certificate_pem, &another),
        (&key_pem, &certificate_pem),
        (&certificate_pem, &key_pem[..60].to_owned()),
    ] {
        let error = read(certificate, key).unwrap_err();
        write!(shown, "{error} {error:?}").unwrap();
    }
    let secret = SecretText::new(key_pem.clone());
    let error = ApnsCertificate::from_pkcs12(key_pem.as_bytes(), &secret).unwrap_err();
    write!(shown, "{error} {error:?}").unwrap();

    let logged = logged();
    assert!(logged.contains("no access token for fcm"), "the log was collected: {logged}");
    let counted = logged.matches("a push has no answer").count();
    assert!(counted > 0, "what goes wrong is logged: {logged}");
    for secret in secrets(&apns, &fcm, &certificate_key.serialize_pem()) {
        assert!(!shown.contains(&secret), "shown: {secret}");
        assert!(!logged.contains(&secret), "logged: {secret}");
    }
}
