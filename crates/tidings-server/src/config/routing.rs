//! How notifications are routed. What each option means stands in `config/tidings.default.toml`.
#![expect(missing_docs, reason = "config/tidings.default.toml documents every option, once")]

use serde::{Deserialize, Serialize};
use tidings_core::{delivery::Channel, event::Priority, route::TypePattern};

use super::check::Problems;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingSection {
    pub ack_wait_ms: u64,
    pub push_from: Priority,
    pub push: PushKind,
    pub push_unless: PushUnless,
    pub push_to: PushTargets,
    pub channels: Vec<Channel>,
    pub rules: Vec<RoutingRuleSection>,
}

/// A rule; what it does not say is as in the section around it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingRuleSection {
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_wait_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_from: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<PushKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_unless: Option<PushUnless>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_to: Option<PushTargets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushKind {
    Alert,
    Silent,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushUnless {
    Acknowledged,
    Handled,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushTargets {
    All,
    First,
}

const MAX_ACK_WAIT_MS: u64 = 3_600_000;

pub(super) fn check(routing: &RoutingSection, problems: &mut Problems) {
    problems.range("routing.ack_wait_ms", routing.ack_wait_ms, 0..=MAX_ACK_WAIT_MS);
    check_channels("routing.channels", &routing.channels, problems);
    for (index, rule) in routing.rules.iter().enumerate() {
        let option = |name| format!("routing.rules[{index}].{name}");
        if let Some(ack_wait_ms) = rule.ack_wait_ms {
            problems.range(&option("ack_wait_ms"), ack_wait_ms, 0..=MAX_ACK_WAIT_MS);
        }
        if let Some(channels) = &rule.channels {
            check_channels(&option("channels"), channels, problems);
        }
        for text in &rule.types {
            if let Err(error) = TypePattern::new(text) {
                problems.add(&option("types"), format!("{text:?} is not a pattern: {error}"));
            }
        }
        if rule.types.is_empty() && rule.from.is_none() && index + 1 < routing.rules.len() {
            problems.add(&option("types"), "is about every event, so no later rule is ever used");
        }
    }
}

fn check_channels(option: &str, channels: &[Channel], problems: &mut Problems) {
    if channels.contains(&Channel::WebSocket) {
        problems.add(option, "names websocket, which always has everything; push channels go here");
    }
    if channels.iter().any(|one| channels.iter().filter(|it| *it == one).count() > 1) {
        problems.add(option, "names a channel twice");
    }
}
