//! Every query, written once for a prefix. Only the names of labels, types, constraints and indexes
//! are put in, which are checked; all else is a parameter.
//!
//! The hints are there because the planner goes by statistics: what it knows of a graph that was
//! just imported is what it knew of the empty one, and what it makes of a user's average degree is
//! wrong for those who have many edges. `USING INDEX` alone may be met by reading the whole index;
//! hence `SEEK`. Entries of an index are read in its order, which the `ORDER BY` of all its
//! properties asks for.

use tidings_core::follow::EdgeKind;

/// The kinds, by their [`slot`].
pub(super) const KINDS: [EdgeKind; 3] = [EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute];

/// Where what is kept by kind keeps this one.
pub(super) fn slot(kind: EdgeKind) -> usize {
    match kind {
        EdgeKind::Follow => 0,
        EdgeKind::Block => 1,
        EdgeKind::Mute => 2,
    }
}

/// What the label of the node that says which graph it is ends with.
pub(super) const GRAPH: &str = "Graph";

/// Names for one prefix.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) user: String,
    pub(super) graph: String,
    pub(super) writer: String,
    /// Relationship types, by kind.
    pub(super) types: [String; 3],
    /// What names of constraints and indexes begin with.
    pub(super) schema: String,
}

impl Names {
    /// `None` if the prefix would not make plain names.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let begins = prefix.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !is_plain || !begins || prefix.len() > 32 {
            return None;
        }
        let upper = prefix.to_ascii_uppercase();
        Some(Self {
            user: format!("{prefix}User"),
            graph: format!("{prefix}{GRAPH}"),
            writer: format!("{prefix}Writer"),
            types: ["FOLLOWS", "BLOCKS", "MUTES"].map(|name| format!("{upper}_{name}")),
            schema: prefix.to_ascii_lowercase(),
        })
    }

    /// Whether a label says which graph another is that has names in common with this one.
    pub(super) fn is_rival(&self, label: &str) -> bool {
        label != self.graph && label.eq_ignore_ascii_case(&self.graph)
    }
}

/// The queries that read.
#[derive(Debug)]
pub(super) struct Reads {
    /// Whether the graph is there.
    pub(super) check: String,
    /// A page of a list, by kind, of those at the other end from the source.
    pub(super) targets: [String; 3],
    /// A page of followers.
    pub(super) followers: String,
    /// A piece of whom `$user` follows, and who of them follows `$other`.
    pub(super) known: String,
    /// A piece of whom `$user` follows, and who of them is followed by `$other`.
    pub(super) common: String,
    pub(super) are_following: String,
    /// The newest neighbours of many users, and how many there are: whom they follow.
    pub(super) neighbours_following: String,
    /// The same for those who follow them.
    pub(super) neighbours_followers: String,
    pub(super) most_followed: String,
    pub(super) counts: String,
    pub(super) stats: String,
    pub(super) is_averted: String,
    pub(super) hidden: String,
    /// The rest of one source's edges, by kind.
    pub(super) export_source: [String; 3],
    /// The edges of the sources after one, by kind.
    pub(super) export_after: [String; 3],
}

impl Reads {
    pub(super) fn new(names: &Names) -> Self {
        let Names { user, graph, types, .. } = names;
        let [follows, blocks, mutes] = types;
        let walk = |hit: &str| {
            format!(
                "MATCH (u:{user} {{id: $user}})
MATCH (o:{user} {{id: $other}})
CALL (u) {{
  MATCH ()-[e:{follows}]->(t) USING INDEX SEEK e:{follows}(source, number)
  WHERE e.source = u.number AND e.number < $before
  RETURN e, t ORDER BY e.source DESC, e.number DESC LIMIT $limit
}}
WITH e, t, EXISTS {{
  MATCH ()-[x:{follows}]->() USING INDEX SEEK x:{follows}(source, target)
  WHERE {hit}
}} AS hit
RETURN count(*), min(e.number), collect(CASE WHEN hit THEN [e.number, t.id] END)"
            )
        };
        let by_kind = |query: fn(&str, &str) -> String| {
            types.each_ref().map(|edge_type| query(user, edge_type))
        };
        Self {
            check: format!("MATCH (g:{graph} {{key: 0}}) RETURN g.version"),
            targets: by_kind(|user, edges| page(user, edges, "source", "t")),
            followers: page(user, follows, "target", "s"),
            known: walk("x.source = e.target AND x.target = o.number"),
            common: walk("x.source = o.number AND x.target = e.target"),
            are_following: format!(
                "MATCH (u:{user} {{id: $user}})
UNWIND range(0, size($others) - 1) AS i
MATCH (o:{user} {{id: $others[i]}})
WITH i, u, o WHERE EXISTS {{
  MATCH ()-[x:{follows}]->() USING INDEX SEEK x:{follows}(source, target)
  WHERE x.source = u.number AND x.target = o.number
}}
RETURN collect(i)"
            ),
            neighbours_following: neighbours(user, follows, "source", "t", "(u)-[:{}]->()"),
            neighbours_followers: neighbours(user, follows, "target", "s", "(u)<-[:{}]-()"),
            most_followed: format!(
                "MATCH (u:{user})
WITH u, COUNT {{ (u)<-[:{follows}]-() }} AS followers WHERE followers > 0
RETURN u.id, followers ORDER BY followers DESC LIMIT $limit"
            ),
            counts: format!(
                "MATCH (u:{user} {{id: $user}})
RETURN COUNT {{ (u)<-[:{follows}]-() }}, COUNT {{ (u)-[:{follows}]->() }}"
            ),
            stats: format!(
                "CALL () {{ MATCH (u:{user}) RETURN count(u) AS users }}
CALL () {{ MATCH ()-[e:{follows}]->() RETURN count(e) AS follows }}
CALL () {{ MATCH ()-[e:{blocks}]->() RETURN count(e) AS blocks }}
CALL () {{ MATCH ()-[e:{mutes}]->() RETURN count(e) AS mutes }}
RETURN users, follows, blocks, mutes"
            ),
            is_averted: format!(
                "MATCH (a:{user} {{id: $actor}})
RETURN EXISTS {{ (a)-[:{blocks}]-() }} OR EXISTS {{ (a)<-[:{mutes}]-() }}"
            ),
            hidden: format!(
                "MATCH (a:{user} {{id: $actor}})
UNWIND range(0, size($others) - 1) AS i
MATCH (o:{user} {{id: $others[i]}})
WHERE EXISTS {{ (o)-[:{blocks}]-(a) }} OR EXISTS {{ (o)-[:{mutes}]->(a) }}
RETURN collect(i)"
            ),
            export_source: by_kind(|_, edges| {
                export(edges, "e.source = $source AND e.number >= $number")
            }),
            export_after: by_kind(|_, edges| {
                export(edges, "e.source > $source AND e.number IS NOT NULL")
            }),
        }
    }
}

/// A page of the edges at one end of a user, newest first: who is at the `other` end.
fn page(user: &str, edges: &str, end: &str, other: &str) -> String {
    format!(
        "MATCH (u:{user} {{id: $user}})
CALL (u) {{
  MATCH (s)-[e:{edges}]->(t) USING INDEX SEEK e:{edges}({end}, number)
  WHERE e.{end} = u.number AND e.number < $before
  RETURN e, {other} AS other ORDER BY e.{end} DESC, e.number DESC LIMIT $limit
}}
RETURN e.number, other.id, e.at"
    )
}

/// The newest edges at one end of many users, newest first: who is at the `other` end; and how many there
/// are, which `all` matches.
fn neighbours(user: &str, edges: &str, end: &str, other: &str, all: &str) -> String {
    let all = all.replace("{}", edges);
    format!(
        "UNWIND range(0, size($users) - 1) AS i
MATCH (u:{user} {{id: $users[i]}})
CALL (u) {{
  MATCH (s)-[e:{edges}]->(t) USING INDEX SEEK e:{edges}({end}, number)
  WHERE e.{end} = u.number AND e.number < $before
  WITH e, {other} AS other ORDER BY e.{end} DESC, e.number DESC LIMIT $limit
  RETURN collect(other.id) AS others
}}
RETURN i, COUNT {{ {all} }}, others"
    )
}

fn export(edges: &str, from: &str) -> String {
    format!(
        "MATCH (s)-[e:{edges}]->(t) USING INDEX SEEK e:{edges}(source, number)
WHERE {from}
RETURN e.source, e.number, s.id, t.id, e.at ORDER BY e.source, e.number LIMIT $limit"
    )
}

/// The queries of the transactions that write.
#[derive(Debug)]
pub(super) struct Writes {
    /// Locks the graph, takes numbers, and notes the writer's group.
    pub(super) lock: String,
    /// What is known of the users and pairs of a group.
    pub(super) find: String,
    pub(super) add_users: String,
    /// By kind.
    pub(super) add: [String; 3],
    /// By kind.
    pub(super) remove: [String; 3],
    pub(super) erase: String,
    pub(super) forget: String,
    /// Removes what a writer left that ended.
    pub(super) end_writer: String,
    /// Removes what writers left that did not end.
    pub(super) end_old_writers: String,
}

impl Writes {
    pub(super) fn new(names: &Names) -> Self {
        let Names { user, graph, writer, types, .. } = names;
        let [follows, blocks, mutes] = types;
        let pairs = |edges: &str, name: &str| {
            format!(
                "CALL () {{
  UNWIND ${name} AS p
  MATCH (s:{user} {{id: $ids[p[0]]}})
  MATCH (t:{user} {{id: $ids[p[1]]}})
  WITH p, s, t WHERE EXISTS {{
    MATCH ()-[e:{edges}]->() USING INDEX SEEK e:{edges}(source, target)
    WHERE e.source = s.number AND e.target = t.number
  }}
  RETURN collect(p) AS {name}
}}"
            )
        };
        let [find_follows, find_blocks, find_mutes] =
            [(follows, "follows"), (blocks, "blocks"), (mutes, "mutes")]
                .map(|(edges, name)| pairs(edges, name));
        Self {
            // The first SET takes the lock, and only then is anything read.
            lock: format!(
                "MATCH (g:{graph} {{key: 0}})
SET g.locked_by = $writer
WITH g
SET g.edges = g.edges + $edges, g.users = g.users + $users
WITH g
MERGE (w:{writer} {{id: $writer}})
WITH g, w, w.group AS before
SET w.group = $group, w.at = timestamp()
RETURN g.edges, g.users, before"
            ),
            find: format!(
                "CALL () {{
  UNWIND range(0, size($ids) - 1) AS i
  MATCH (u:{user} {{id: $ids[i]}})
  RETURN collect([i, u.number]) AS users
}}
{find_follows}
{find_blocks}
{find_mutes}
RETURN users, follows, blocks, mutes"
            ),
            add_users: format!(
                "UNWIND $users AS u CREATE (:{user} {{id: $ids[u[0]], number: u[1]}})"
            ),
            add: types.each_ref().map(|edges| {
                format!(
                    "UNWIND $edges AS e
MATCH (s:{user} {{id: $ids[e[0]]}})
MATCH (t:{user} {{id: $ids[e[1]]}})
CREATE (s)-[:{edges} {{source: s.number, target: t.number, number: e[2], at: e[3]}}]->(t)"
                )
            }),
            remove: types.each_ref().map(|edges| {
                format!(
                    "UNWIND $pairs AS p
MATCH ()-[e:{edges}]->() USING INDEX SEEK e:{edges}(source, target)
WHERE e.source = p[0] AND e.target = p[1]
DELETE e"
                )
            }),
            erase: format!(
                "MATCH (u:{user} {{id: $user}})
CALL (u) {{ MATCH (u)-[e:{follows}|{blocks}|{mutes}]-() RETURN e LIMIT $limit }}
DELETE e
RETURN count(*)"
            ),
            forget: format!("MATCH (u:{user} {{id: $user}}) DELETE u"),
            end_writer: format!("MATCH (w:{writer} {{id: $writer}}) DELETE w"),
            end_old_writers: format!(
                "MATCH (w:{writer}) WHERE w.at < timestamp() - $age_ms DELETE w"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_makes_plain_names_or_none() {
        let names = Names::new("Tidings2").unwrap();
        assert_eq!(names.user, "Tidings2User");
        assert_eq!(names.types[1], "TIDINGS2_BLOCKS");
        let long = "a".repeat(33);
        for prefix in ["", "2x", "a_b", "a b", "a`b", "é", long.as_str()] {
            assert!(Names::new(prefix).is_none(), "{prefix}");
        }
    }
}
