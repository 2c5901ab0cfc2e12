use std::sync::Arc;

use ::neo4j::{
    ValueReceive,
    driver::{ConnectionConfig, Driver, DriverConfig, auth::AuthToken},
    session::SessionConfig,
    value_map,
};
use tidings_testkit::services::{neo4j_password, neo4j_uri, neo4j_user, unique_name};

use crate::within;

/// Runs a query and gives the values of its rows.
fn query(driver: &Driver, cypher: &str, run: &str) -> Vec<Vec<ValueReceive>> {
    let database = SessionConfig::new().with_database(Arc::new("neo4j".to_owned()));
    let parameters = value_map!({"run": run, "since": 1_795_410_000_i64});
    let mut session = driver.session(database);
    let done = session.auto_commit(cypher).with_parameters(&parameters).run().unwrap();
    done.records.into_iter().map(|record| record.into_values().collect()).collect()
}

#[tokio::test]
async fn a_follow_written_to_neo4j_is_found_by_cypher_over_bolt() {
    let to: ConnectionConfig = neo4j_uri().parse().unwrap();
    let auth = Arc::new(AuthToken::new_basic_auth(neo4j_user(), neo4j_password()));
    let driver = Driver::new(to, DriverConfig::new().with_auth(auth));
    // The test's own users, among those of other tests and runs.
    let run = unique_name("smoke");
    // The driver blocks.
    let asked = tokio::task::spawn_blocking(move || {
        let create = "CREATE (:User {run: $run, id: 'ann'})\
                      -[:FOLLOWS {since: $since}]->(:User {run: $run, id: 'bob'})";
        query(&driver, create, &run);
        let find = "MATCH (follower:User)-[follow:FOLLOWS]->(:User {run: $run, id: 'bob'})
                    RETURN follower.id, follow.since";
        let found = query(&driver, find, &run);
        query(&driver, "MATCH (user:User {run: $run}) DETACH DELETE user", &run);
        found
    });
    let found = within(asked).await.unwrap();
    let expected = [ValueReceive::String("ann".to_owned()), ValueReceive::Integer(1_795_410_000)];
    assert_eq!(found, [expected]);
}
