//! What `tidings evaluate` found, as a table and as JSON.

use std::time::Duration;

use indicatif::HumanCount;
use serde_json::{Map, Value, json};
use tidings_graph::recommend::evaluate::{Estimate, Facts, HoldOut, Measure, Method, Summary};

type Found = [(Method, Summary)];

/// The best first, by NDCG@10.
pub(super) fn sort(found: &mut Found) {
    let ndcg = |summary: &Summary| summary.of(Measure::Ndcg).mean;
    found.sort_by(|(_, a), (_, b)| ndcg(b).total_cmp(&ndcg(a)));
}

pub(super) fn table(facts: Facts, found: &Found) -> String {
    let count = |count: usize| HumanCount(count as u64);
    let mut text = format!(
        "{} users, {} follows, {:.1} % of them returned; {} hidden (seed {}), {} test users\n\n",
        count(facts.users),
        count(facts.follows),
        100.0 * facts.reciprocity,
        count(facts.hidden),
        facts.seed,
        count(facts.test_users),
    );
    text.push_str(&format!(
        "{:<15} {:>15} {:>15} {:>6} {:>6} {:>6} {:>8} {:>15} {:>8} {:>8} {:>8}\n",
        "method",
        "NDCG@10",
        "MAP",
        "HR@10",
        "P@10",
        "R@50",
        "AUC unif",
        "AUC pop",
        "coverage",
        "p50 ms",
        "p95 ms"
    ));
    for (method, summary) in found {
        text.push_str(&row(*method, summary));
    }
    text.push_str(
        "\nAUC pop is the accuracy: against users who are as popular as those one follows.\n",
    );
    text
}

fn row(method: Method, summary: &Summary) -> String {
    let mean = |measure| summary.of(measure).mean;
    let estimate = |measure| {
        let Estimate { mean, ci95 } = summary.of(measure);
        format!("{mean:.4} ±{ci95:.4}")
    };
    format!(
        "{method:<15} {:>15} {:>15} {:>6.3} {:>6.3} {:>6.3} {:>8.3} {:>15} {:>8.3} {:>8.3} {:>8.3}\n",
        estimate(Measure::Ndcg),
        estimate(Measure::Map),
        mean(Measure::HitRate),
        mean(Measure::Precision),
        mean(Measure::Recall),
        mean(Measure::AucUniform),
        estimate(Measure::AucPopularity),
        summary.coverage,
        millis(summary.p50),
        millis(summary.p95),
    )
}

/// The same for programs. A confidence that one test user cannot give is `null`.
pub(super) fn json(facts: Facts, hold_out: HoldOut, found: &Found) -> serde_json::Result<String> {
    let Facts { users, follows, reciprocity, hidden, test_users, seed } = facts;
    let hold_out = match hold_out {
        HoldOut::Random => "random",
        HoldOut::Newest => "newest",
    };
    let methods: Map<String, Value> = found
        .iter()
        .map(|(method, summary)| (method.name().to_owned(), figures(summary)))
        .collect();
    let report = json!({
        "graph": {
            "users": users,
            "follows": follows,
            "reciprocity": reciprocity,
            "hidden": hidden,
            "hold_out": hold_out,
            "test_users": test_users,
            "seed": seed,
        },
        "methods": methods,
    });
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn figures(summary: &Summary) -> Value {
    let mut figures = Map::new();
    for measure in Measure::ALL {
        let Estimate { mean, ci95 } = summary.of(measure);
        figures.insert(measure.key().to_owned(), mean.into());
        figures.insert(format!("{}_ci95", measure.key()), ci95.into());
    }
    for (key, figure) in [
        ("coverage", summary.coverage),
        ("ms_p50", millis(summary.p50)),
        ("ms_p95", millis(summary.p95)),
    ] {
        figures.insert(key.to_owned(), figure.into());
    }
    Value::Object(figures)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
