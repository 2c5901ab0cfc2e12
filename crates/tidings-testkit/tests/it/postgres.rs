use tidings_testkit::services::{postgres_url, unique_name};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use crate::within;

#[tokio::test]
async fn a_row_written_to_postgres_is_read_back_and_a_second_of_its_key_is_refused() {
    let (client, connection) =
        within(tokio_postgres::connect(&postgres_url(), NoTls)).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);

    let schema = unique_name("smoke");
    within(client.batch_execute(&format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.notification (id text PRIMARY KEY, seq bigint NOT NULL)"
    )))
    .await
    .unwrap();
    let insert = format!(
        "INSERT INTO {schema}.notification SELECT * FROM UNNEST($1::text[], $2::bigint[])
         ON CONFLICT DO NOTHING"
    );
    let ids = vec!["evt_1", "evt_2"];
    let first = within(client.execute(&insert, &[&ids, &vec![1_i64, 2]])).await.unwrap();
    let second = within(client.execute(&insert, &[&ids, &vec![3_i64, 4]])).await.unwrap();
    let select = format!("SELECT id, seq FROM {schema}.notification ORDER BY seq");
    let rows = within(client.query(&select, &[])).await.unwrap();
    within(client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))).await.unwrap();

    assert_eq!((first, second), (2, 0));
    let rows: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("evt_1".to_owned(), 1), ("evt_2".to_owned(), 2)]);

    drop(client);
    within(tasks.join_next()).await.unwrap().unwrap().unwrap();
}
