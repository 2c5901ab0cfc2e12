//! The service account file from the Firebase console.

use http::uri::{PathAndQuery, Uri};
use jsonwebtoken::EncodingKey;
use serde::Deserialize;

use crate::push::{PushSetupError, SecretText, http2::Endpoint};

/// The fields of the file that are used; it has more.
#[derive(Deserialize)]
struct File {
    project_id: String,
    private_key_id: String,
    private_key: SecretText,
    client_email: String,
    token_uri: String,
}

/// A Google service account that may send through one Firebase project.
pub(super) struct ServiceAccount {
    pub(super) project_id: String,
    pub(super) key_id: String,
    pub(super) key: EncodingKey,
    pub(super) client_email: String,
    /// As it stands in the file: the audience of assertions.
    pub(super) token_uri: String,
    pub(super) token_endpoint: Endpoint,
    pub(super) token_path: PathAndQuery,
}

impl ServiceAccount {
    /// Reads the file.
    pub(super) fn parse(json: &SecretText) -> Result<Self, PushSetupError> {
        let file: File = serde_json::from_str(json.expose()).map_err(|error| {
            PushSetupError::ServiceAccount { line: error.line(), column: error.column() }
        })?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        // It stands in the path of every request.
        if file.project_id.is_empty() || !file.project_id.bytes().all(is_plain) {
            return Err(PushSetupError::Id { what: "project_id of the service account" });
        }
        let key =
            EncodingKey::from_rsa_pem(file.private_key.expose().as_bytes()).map_err(|source| {
                PushSetupError::Key { what: "private_key of the service account", source }
            })?;
        let uri: Uri = file.token_uri.parse().map_err(|_| PushSetupError::TokenUri)?;
        let token_endpoint = Endpoint::of(&uri).ok_or(PushSetupError::TokenUri)?;
        let token_path = uri.path_and_query().cloned().ok_or(PushSetupError::TokenUri)?;
        Ok(Self {
            project_id: file.project_id,
            key_id: file.private_key_id,
            key,
            client_email: file.client_email,
            token_uri: file.token_uri,
            token_endpoint,
            token_path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_refused_without_quoting_it() {
        let key = "-----BEGIN PRIVATE KEY-----";
        let json = serde_json::json!({
            "project_id": "p", "private_key_id": "k", "private_key": key, "client_email": "e",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let with = |field: &str, value: serde_json::Value| {
            let mut json = json.clone();
            json[field] = value;
            json.to_string()
        };
        for broken in [
            key.to_owned(),
            format!("{key:?}"),
            with("private_key", key.into()),
            with("project_id", serde_json::json!([key])),
            with("project_id", format!("../{key}").into()),
            with("token_uri", format!("http://{key}/").into()),
        ] {
            let Err(error) = ServiceAccount::parse(&SecretText::new(broken)) else {
                panic!("taken");
            };
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("BEGIN") && !shown.contains("PRIVATE"), "{shown}");
        }
    }
}
