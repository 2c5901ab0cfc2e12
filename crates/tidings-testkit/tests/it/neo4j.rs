use neo4rs::{Graph, query};
use tidings_testkit::services::{neo4j_password, neo4j_uri, neo4j_user, unique_name};

use crate::within;

#[tokio::test]
async fn a_follow_written_to_neo4j_is_found_by_cypher_over_bolt() {
    let graph = within(Graph::new(neo4j_uri(), neo4j_user(), neo4j_password())).await.unwrap();
    // The test's own users, among those of other tests and runs.
    let run = unique_name("smoke");

    let create = query(
        "CREATE (:User {run: $run, id: 'ann'})-[:FOLLOWS {since: $since}]->(:User {run: $run, id: 'bob'})",
    )
    .param("run", run.as_str())
    .param("since", 1_795_410_000_i64);
    within(graph.run(create)).await.unwrap();

    let find = query(
        "MATCH (follower:User)-[follow:FOLLOWS]->(:User {run: $run, id: 'bob'})
         RETURN follower.id AS id, follow.since AS since",
    )
    .param("run", run.as_str());
    let mut rows = within(graph.execute(find)).await.unwrap();
    let row = within(rows.next()).await.unwrap().unwrap();
    let follower = (row.get::<String>("id").unwrap(), row.get::<i64>("since").unwrap());
    assert!(within(rows.next()).await.unwrap().is_none());

    let remove = query("MATCH (user:User {run: $run}) DETACH DELETE user").param("run", run);
    within(graph.run(remove)).await.unwrap();
    assert_eq!(follower, ("ann".to_owned(), 1_795_410_000));
}
