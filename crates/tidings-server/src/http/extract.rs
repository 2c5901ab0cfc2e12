//! What routes take from a request besides its body.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{error::Problem, state::App};
use crate::auth::{AuthError, Caller};

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(app.auth.caller(bearer(&parts.headers)?)?)
    }
}

/// The key or token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| AuthError::Missing)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    Ok(Some(token.trim()))
}

/// Query parameters, refused as a problem when they do not fit.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let Query(params) = Query::<T>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::bad_input("query", error.body_text()))?;
        Ok(Self(params))
    }
}

/// What the path names, refused as a problem when it is not text.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let named = axum::extract::Path::<T>::from_request_parts(parts, app).await;
        let axum::extract::Path(named) =
            named.map_err(|error| Problem::bad_input("path", error.body_text()))?;
        Ok(Self(named))
    }
}

/// A part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// How many items, 1 to 1000; 50 unless told.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    pub(super) cursor: Option<String>,
}

impl PageParams {
    const USUAL: usize = 50;
    const MOST: usize = 1000;

    /// Of a list that has more parameters than these.
    pub(super) fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many items are wanted.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(Self::USUAL) {
            limit if (1..=Self::MOST).contains(&limit) => Ok(limit),
            limit => {
                Err(Problem::bad_input("limit", format!("is {limit}, from 1 to 1000 is allowed")))
            }
        }
    }

    /// The cursor of a list that is numbered.
    pub(super) fn number(&self) -> Result<Option<u64>, Problem> {
        let parse = |text: &String| {
            text.parse().map_err(|_| Problem::bad_input("cursor", "is not one that this list gave"))
        };
        self.cursor.as_ref().map(parse).transpose()
    }
}
