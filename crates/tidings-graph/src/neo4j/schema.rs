//! Constraints and indexes, and the node that says which graph this is.
//!
//! A schema has a version. One that is newer than this program is left alone; an older one is
//! brought up to date, statement by statement: each says `IF NOT EXISTS`, so that nodes that start
//! together, or again after a crash, all get to the end. The version is written last.

use neo4j::{Neo4jError, ValueSend};
use tidings_core::ids::GraphId;
use uuid::Uuid;

use super::{
    bolt::{Bolt, Deadline},
    cypher::{GRAPH, Names, Writes},
    error::{Failure, Neo4jOpenError},
    row::with,
};

/// The newest schema that this program knows.
const VERSION: i64 = 1;

/// What writers left that were not heard of for so long is removed: a month.
const WRITER_AGE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The first version with scoped subqueries, `CALL (x) { … }`.
const OLDEST_SERVER: (u32, u32) = (5, 23);

/// Checks the server, brings the schema up to date, and says which graph it is.
pub(super) fn migrate(
    bolt: &Bolt,
    names: &Names,
    prefix: &str,
    deadline: Deadline,
) -> Result<GraphId, Neo4jOpenError> {
    check_server(bolt, deadline)?;
    if let Some(other) = find_rival(bolt, names, deadline).map_err(unusable)? {
        return Err(Neo4jOpenError::PrefixTaken { prefix: prefix.to_owned(), other });
    }
    if let Some((id, version)) = find_graph(bolt, names, deadline).map_err(unusable)? {
        if version > VERSION {
            let prefix = prefix.to_owned();
            return Err(Neo4jOpenError::Newer { prefix, found: version, known: VERSION });
        }
        if version == VERSION {
            return Ok(id);
        }
    }
    let made = make(bolt, names, deadline).map_err(unusable)?;
    tracing::info!(prefix, version = VERSION, "the schema of the graph in Neo4j is up to date");
    Ok(made)
}

/// Removes what writers left that did not end in good order.
pub(super) fn tidy(bolt: &Bolt, writes: &Writes, deadline: Deadline) -> Result<(), Failure> {
    let age = with([("age_ms", ValueSend::Integer(WRITER_AGE_MS))]);
    bolt.query("tidy", &writes.end_old_writers, &age, deadline).map(drop)
}

fn unusable(failure: Failure) -> Neo4jOpenError {
    Neo4jOpenError::Server { source: Box::new(failure) }
}

fn check_server(bolt: &Bolt, deadline: Deadline) -> Result<(), Neo4jOpenError> {
    let cypher = "CALL dbms.components() YIELD name, versions \
                  WHERE name = 'Neo4j Kernel' RETURN versions[0]";
    let version = bolt
        .query("open", cypher, &with([]), deadline)
        .and_then(|rows| {
            let mut row = rows.into_iter().next().ok_or(Failure::Unreadable("server version"))?;
            row.text("server version")
        })
        .map_err(unusable)?;
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        // What has no number is newer than all that had.
        (Some(major), Some(minor)) if (major, minor) < OLDEST_SERVER => {
            Err(Neo4jOpenError::ServerTooOld { found: version })
        }
        _ => Ok(()),
    }
}

/// The prefix of another graph in the database that differs from this one's in case only: the two would
/// have the same types of relationships, and the same names of constraints and indexes.
fn find_rival(bolt: &Bolt, names: &Names, deadline: Deadline) -> Result<Option<String>, Failure> {
    let labels = bolt.query("open", "CALL db.labels() YIELD label", &with([]), deadline)?;
    for mut row in labels {
        let label = row.text("label")?;
        if !names.is_rival(&label) {
            continue;
        }
        // A label may outlive what had it. This one is a plain name, since it is ours but for the case.
        let cypher = format!("MATCH (g:{label} {{key: 0}}) RETURN g.id");
        if !bolt.query("open", &cypher, &with([]), deadline)?.is_empty() {
            let prefix = label.get(..label.len() - GRAPH.len()).unwrap_or_default();
            return Ok(Some(prefix.to_owned()));
        }
    }
    Ok(None)
}

fn find_graph(
    bolt: &Bolt,
    names: &Names,
    deadline: Deadline,
) -> Result<Option<(GraphId, i64)>, Failure> {
    let cypher = format!("MATCH (g:{} {{key: 0}}) RETURN g.id, g.version", names.graph);
    let rows = bolt.query("open", &cypher, &with([]), deadline)?;
    let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
    let id = row.text("graph id")?.parse().map_err(|_| Failure::Unreadable("graph id"))?;
    Ok(Some((GraphId(Uuid::as_u128(&id)), row.number("schema version")?)))
}

fn make(bolt: &Bolt, names: &Names, deadline: Deadline) -> Result<GraphId, Failure> {
    let none = with([]);
    for statement in statements(names) {
        match bolt.query("open", &statement, &none, deadline) {
            Err(Failure::Bolt(error)) if is_made_by_another(&error) => {}
            done => drop(done?),
        }
    }
    // An index may be filled yet, on a graph that others have made.
    bolt.query("open", "CALL db.awaitIndexes(3600)", &none, deadline)?;
    let cypher = format!(
        "MERGE (g:{} {{key: 0}})
ON CREATE SET g.id = $id, g.edges = 1, g.users = 0, g.version = $version
ON MATCH SET g.version = CASE WHEN g.version < $version THEN $version ELSE g.version END",
        names.graph
    );
    let parameters =
        with([("id", Uuid::now_v7().to_string().into()), ("version", ValueSend::Integer(VERSION))]);
    bolt.query("open", &cypher, &parameters, deadline)?;
    // Another node may have been first: its id stands.
    let made = find_graph(bolt, names, deadline)?;
    made.map(|(id, _)| id).ok_or(Failure::Unreadable("graph"))
}

/// Whether another node made the same between the server's look and its deed: `IF NOT EXISTS` does not
/// hold both together.
fn is_made_by_another(error: &Neo4jError) -> bool {
    let Neo4jError::ServerError { error, .. } = error else { return false };
    matches!(
        error.code(),
        "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists"
            | "Neo.ClientError.Schema.ConstraintAlreadyExists"
            | "Neo.ClientError.Schema.ConstraintWithNameAlreadyExists"
            | "Neo.ClientError.Schema.IndexAlreadyExists"
            | "Neo.ClientError.Schema.IndexWithNameAlreadyExists"
    )
}

fn statements(names: &Names) -> Vec<String> {
    let Names { user, graph, writer, types, schema } = names;
    let unique = |label: &str, name: &str, property: &str| {
        format!(
            "CREATE CONSTRAINT {schema}_{name} IF NOT EXISTS \
             FOR (n:{label}) REQUIRE n.{property} IS UNIQUE"
        )
    };
    let index = |edges: &str, end: &str| {
        let name = edges.to_ascii_lowercase();
        format!(
            "CREATE INDEX {name}_{end} IF NOT EXISTS FOR ()-[e:{edges}]-() ON (e.{end}, e.number)"
        )
    };
    let mut statements = vec![
        unique(graph, "graph", "key"),
        unique(user, "user", "id"),
        unique(writer, "writer", "id"),
    ];
    for edges in types {
        let name = edges.to_ascii_lowercase();
        statements.push(format!(
            "CREATE CONSTRAINT {name}_pair IF NOT EXISTS \
             FOR ()-[e:{edges}]-() REQUIRE (e.source, e.target) IS UNIQUE"
        ));
        statements.push(index(edges, "source"));
    }
    // Nobody lists who has blocked or muted a user.
    statements.push(index(&types[0], "target"));
    statements
}
