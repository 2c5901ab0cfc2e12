//! Holds `deploy/compose.yaml` to what the services of xtask are.

use super::endpoints::{
    HOST, KAFKA_PORT, NEO4J_BOLT_PORT, NEO4J_HTTP_PORT, NEO4J_PASSWORD, NEO4J_USER,
    POSTGRES_DATABASE, POSTGRES_PASSWORD, POSTGRES_PORT, POSTGRES_USER, REDIS_PORT,
};

const COMPOSE: &str = include_str!("../../../deploy/compose.yaml");
const POM: &str = include_str!("../../../deploy/services/pom.xml");

/// The text of the pom's first element of this name.
fn pom(element: &str) -> &'static str {
    let (_, rest) = POM.split_once(&format!("<{element}>")).unwrap();
    rest.split_once('<').unwrap().0
}

#[track_caller]
fn assert_composed(expected: &str) {
    assert!(COMPOSE.contains(expected), "deploy/compose.yaml lacks `{expected}`");
}

#[test]
fn the_compose_file_runs_the_versions_that_the_pom_pins() {
    assert_composed(&format!("image: apache/kafka:{}\n", pom("kafka.version")));
    assert_composed(&format!("image: neo4j:{}-community\n", pom("neo4j.version")));
}

#[test]
fn the_compose_file_listens_where_the_tests_look() {
    assert_composed(&format!("\"{HOST}:{POSTGRES_PORT}:5432\""));
    assert_composed(&format!("\"{HOST}:{REDIS_PORT}:6379\""));
    assert_composed(&format!("\"{HOST}:{KAFKA_PORT}:{KAFKA_PORT}\""));
    assert_composed(&format!("PLAINTEXT://{HOST}:{KAFKA_PORT}\n"));
    assert_composed(&format!("\"{HOST}:{NEO4J_BOLT_PORT}:7687\""));
    assert_composed(&format!("\"{HOST}:{NEO4J_HTTP_PORT}:7474\""));
}

#[test]
fn the_compose_file_lets_the_tests_in() {
    assert_composed(&format!("POSTGRES_USER: {POSTGRES_USER}\n"));
    assert_composed(&format!("POSTGRES_PASSWORD: {POSTGRES_PASSWORD}\n"));
    assert_composed(&format!("POSTGRES_DB: {POSTGRES_DATABASE}\n"));
    assert_composed(&format!("NEO4J_AUTH: {NEO4J_USER}/{NEO4J_PASSWORD}\n"));
}
