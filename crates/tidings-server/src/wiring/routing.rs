//! The rules of routing, from the configuration.

use std::time::Duration;

use anyhow::Context;
use tidings_core::{
    delivery::PushStyle,
    event::Priority,
    route::{PushTo, Routing, RoutingPolicy, RoutingRule, TypePattern, Unless},
};

use crate::config::{PushKind, PushTargets, PushUnless, RoutingRuleSection, RoutingSection};

pub(super) fn routing_policy(section: &RoutingSection) -> anyhow::Result<RoutingPolicy> {
    let default = Routing {
        ack_wait: Duration::from_millis(section.ack_wait_ms),
        push_from: section.push_from,
        push: style(section.push),
        unless: unless(section.push_unless),
        to: targets(section.push_to),
        channels: section.channels.clone(),
    };
    let rules = section.rules.iter().map(|rule| routing_rule(rule, &default));
    let rules = rules.collect::<anyhow::Result<_>>().context("routing.rules cannot be read")?;
    Ok(RoutingPolicy { default, rules })
}

fn routing_rule(rule: &RoutingRuleSection, default: &Routing) -> anyhow::Result<RoutingRule> {
    let types = rule.types.iter().map(|text| TypePattern::new(text));
    Ok(RoutingRule {
        types: types.collect::<Result<_, _>>()?,
        from: rule.from.unwrap_or(Priority::Low),
        routing: Routing {
            ack_wait: rule.ack_wait_ms.map_or(default.ack_wait, Duration::from_millis),
            push_from: rule.push_from.unwrap_or(default.push_from),
            push: rule.push.map_or(default.push, style),
            unless: rule.push_unless.map_or(default.unless, unless),
            to: rule.push_to.map_or(default.to, targets),
            channels: rule.channels.clone().unwrap_or_else(|| default.channels.clone()),
        },
    })
}

fn style(kind: PushKind) -> Option<PushStyle> {
    match kind {
        PushKind::Alert => Some(PushStyle::Alert),
        PushKind::Silent => Some(PushStyle::Silent),
        PushKind::Never => None,
    }
}

fn unless(section: PushUnless) -> Unless {
    match section {
        PushUnless::Acknowledged => Unless::Acknowledged,
        PushUnless::Handled => Unless::Handled,
        PushUnless::Nothing => Unless::Nothing,
    }
}

fn targets(section: PushTargets) -> PushTo {
    match section {
        PushTargets::All => PushTo::All,
        PushTargets::First => PushTo::First,
    }
}
