//! What is asked about recommendations, and what is checked of it.

use std::{collections::HashMap, ops::RangeInclusive};

use serde::Deserialize;
use tidings_core::ids::UserId;
use tidings_graph::recommend::MAX_RECOMMENDATIONS;
use utoipa::{IntoParams, ToSchema};

use crate::{config::MAX_LIST, http::error::Problem, recommendations::Query};

/// Users whom one request may dismiss, or report as shown.
const MAX_USERS: usize = 100;
/// Candidates, and boosts, of one query.
const MAX_AMONG: usize = 10_000;
/// What a boost may be.
const BOOSTS: RangeInclusive<f32> = 0.01..=100.0;

/// Which list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// How many, 1 to 100; `recommendations.limit` (10) unless told.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// Whether each comes with its reasons, which takes some more work; `false` unless told.
    explain: Option<bool>,
}

impl ListParams {
    pub(super) fn limit(&self, usual: usize) -> Result<usize, Problem> {
        limit(self.limit, usual, MAX_LIST)
    }

    pub(super) fn explain(&self) -> bool {
        self.explain.unwrap_or(false)
    }
}

fn limit(limit: Option<usize>, usual: usize, most: usize) -> Result<usize, Problem> {
    match limit.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => {
            Err(Problem::bad_input("limit", format!("is {limit}, from 1 to {most} is allowed")))
        }
    }
}

/// Users.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RecommendedUsers)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersInput {
    /// 1 to 100 user ids.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100, example = json!(["u_9"]))]
    users: Vec<UserId>,
}

impl UsersInput {
    pub(super) fn users(&self) -> Result<&[UserId], Problem> {
        let count = self.users.len();
        if !(1..=MAX_USERS).contains(&count) {
            let detail = format!("names {count} users, from 1 to {MAX_USERS} are allowed");
            return Err(Problem::bad_input("users", detail));
        }
        Ok(&self.users)
    }
}

/// What a server asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RecommendationQuery)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryInput {
    /// How many, 1 to 500; `recommendations.limit` (10) unless told.
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Whether each comes with its reasons.
    #[serde(default)]
    explain: bool,
    /// Recommend none but these, up to 10000; anyone unless told.
    #[schema(value_type = Option<Vec<String>>, max_items = 10000)]
    among: Option<Vec<UserId>>,
    /// What the scores of up to 10000 users are multiplied by, 0.01 to 100 each: above 1 lifts a user, below
    /// sinks one.
    #[serde(default)]
    #[schema(value_type = HashMap<String, f32>, example = json!({"u_7": 1.5}))]
    boosts: HashMap<UserId, f32>,
}

impl QueryInput {
    pub(super) fn into_query(self, user: UserId, usual: usize) -> Result<Query, Problem> {
        let Self { limit: wanted, explain, among, boosts } = self;
        let limit = limit(wanted, usual, MAX_RECOMMENDATIONS)?;
        let too_many = |field: &str, count: usize| {
            let detail = format!("names {count} users, up to {MAX_AMONG} are allowed");
            Problem::bad_input(field, detail)
        };
        if let Some(among) = among.as_ref().filter(|among| among.len() > MAX_AMONG) {
            return Err(too_many("among", among.len()));
        }
        if boosts.len() > MAX_AMONG {
            return Err(too_many("boosts", boosts.len()));
        }
        if let Some((user, boost)) = boosts.iter().find(|(_, boost)| !BOOSTS.contains(boost)) {
            let detail =
                format!("is {boost}, from {} to {} is allowed", BOOSTS.start(), BOOSTS.end());
            return Err(Problem::bad_input(&format!("boosts.{user}"), detail));
        }
        Ok(Query { user, limit, explain, among, boosts })
    }
}
