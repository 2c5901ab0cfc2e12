//! The part of the HTTP API that says whom to follow.

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_core::ids::UserId;

use crate::{api::Api, error::ApiError};

#[derive(Deserialize)]
struct List {
    recommendations: Vec<Box<RawValue>>,
}

impl Api {
    /// Whom `user` may want to follow as JSON, the best first: up to `limit`, with reasons if `explain`
    /// says so. Without a limit the node has its own.
    ///
    /// # Errors
    ///
    /// [`ApiError`].
    pub async fn recommendations(
        &self,
        user: &UserId,
        limit: Option<usize>,
        explain: bool,
    ) -> Result<Vec<Box<RawValue>>, ApiError> {
        let mut url = self.url(&["v1", "users", user.as_str(), "recommendations"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("explain", if explain { "true" } else { "false" });
            if let Some(limit) = limit {
                query.append_pair("limit", &limit.to_string());
            }
        }
        let List { recommendations } = self.send_to(Method::GET, url, String::new()).await?;
        Ok(recommendations)
    }
}
