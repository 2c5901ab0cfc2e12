//! The direction of dependencies: adapters know the core and not each other.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// What each crate may depend on, outside of its tests.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("tidings-core", &[]),
    ("tidings-store", &["tidings-core"]),
    ("tidings-ingest", &["tidings-core"]),
    ("tidings-delivery", &["tidings-core"]),
    ("tidings-graph", &["tidings-core"]),
    ("tidings-simulators", &[]),
    ("tidings-client", &["tidings-core"]),
    ("tidings-testkit", &["tidings-core"]),
    (
        "tidings-server",
        &[
            "tidings-core",
            "tidings-client",
            "tidings-delivery",
            "tidings-graph",
            "tidings-ingest",
            "tidings-simulators",
            "tidings-store",
        ],
    ),
    // The push clients and the graph are measured by themselves, and the clients against simulators.
    (
        "tidings-bench",
        &[
            "tidings-client",
            "tidings-core",
            "tidings-delivery",
            "tidings-graph",
            "tidings-simulators",
        ],
    ),
    ("xtask", &[]),
];

/// What a crate of decisions has no use for: I/O, HTTP, SQL, a runtime.
const NOT_IN_CORE: [&str; 12] = [
    "axum",
    "fjall",
    "h2",
    "http",
    "hyper",
    "metrics",
    "rdkafka",
    "redis",
    "reqwest",
    "rusqlite",
    "tokio",
    "tokio-util",
];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    metadata.packages
}

fn dependencies(package: &Package, kind: DependencyKind) -> BTreeSet<&str> {
    let of_kind = package.dependencies.iter().filter(|it| it.kind == kind);
    of_kind.map(|it| it.name.as_str()).collect()
}

#[test]
fn dependencies_point_towards_the_core_only() {
    let allowed = BTreeMap::from(ALLOWED);
    let packages = packages();
    for package in &packages {
        let name = package.name.as_str();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in ALLOWED"));
        for dependency in dependencies(package, DependencyKind::Normal) {
            let ours = packages.iter().any(|it| it.name.as_str() == dependency);
            assert!(!ours || allowed.contains(&dependency), "{name} depends on {dependency}");
        }
    }
    assert_eq!(packages.len(), ALLOWED.len(), "ALLOWED names a crate that is gone");
}

#[test]
fn the_testkit_is_a_development_dependency_only() {
    for package in packages() {
        for kind in [DependencyKind::Normal, DependencyKind::Build] {
            let found = dependencies(&package, kind).contains("tidings-testkit");
            assert!(!found, "{} depends on the testkit outside its tests", package.name);
        }
    }
}

#[test]
fn the_core_does_no_input_or_output() {
    let packages = packages();
    let core = packages.iter().find(|it| it.name.as_str() == "tidings-core").unwrap();
    for dependency in dependencies(core, DependencyKind::Normal) {
        assert!(!NOT_IN_CORE.contains(&dependency), "the core depends on {dependency}");
    }
}
