//! Brings a data directory to the schema that this program knows.

use rusqlite::Connection;

/// The steps, oldest first; step `n` leads to schema version `n + 1`. A step that was released is
/// never changed: directories out there have taken it.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_inboxes.sql"),
    include_str!("../../migrations/sqlite/0002_ingest.sql"),
    include_str!("../../migrations/sqlite/0003_fan_out_graph.sql"),
    include_str!("../../migrations/sqlite/0004_revocations.sql"),
    include_str!("../../migrations/sqlite/0005_devices.sql"),
    include_str!("../../migrations/sqlite/0006_delivery_log.sql"),
    include_str!("../../migrations/sqlite/0007_recommendation_feedback.sql"),
    include_str!("../../migrations/sqlite/0008_acked_after.sql"),
];

/// Why a database is not at the newest version.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// It is newer than the steps.
    #[error("schema version {found} is newer than {known}")]
    Newer { found: u32, known: u32 },
    /// A step failed and left nothing behind.
    #[error("step to schema version {version} failed")]
    Step { version: u32, source: rusqlite::Error },
    /// The version cannot be read.
    #[error("the schema version cannot be read")]
    Version(#[source] rusqlite::Error),
}

/// Takes the steps that `conn` has not taken, each in a transaction with its version number.
/// Returns the version before and after.
pub(super) fn migrate(
    conn: &mut Connection,
    migrations: &[&str],
) -> Result<(u32, u32), MigrateError> {
    let found: u32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(MigrateError::Version)?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for (sql, version) in migrations.iter().zip(1..).skip(found as usize) {
        take_step(conn, sql, version).map_err(|source| MigrateError::Step { version, source })?;
    }
    Ok((found, known))
}

fn take_step(conn: &mut Connection, sql: &str, version: u32) -> rusqlite::Result<()> {
    let step = conn.transaction()?;
    step.execute_batch(sql)?;
    step.pragma_update(None, "user_version", version)?;
    step.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: &str = "ALTER TABLE inbox ADD COLUMN locale TEXT NOT NULL DEFAULT 'en';
        CREATE TABLE added (id INTEGER PRIMARY KEY) STRICT;";

    fn version_1_with_a_row(path: &std::path::Path) -> Connection {
        let mut conn = Connection::open(path).unwrap();
        assert_eq!(migrate(&mut conn, &MIGRATIONS[..1]).unwrap(), (0, 1));
        conn.execute_batch("INSERT INTO inbox (user_id, last_seq, unread) VALUES ('ann', 3, 2)")
            .unwrap();
        conn
    }

    #[test]
    fn an_existing_directory_is_upgraded_and_keeps_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        drop(version_1_with_a_row(&path));

        let mut conn = Connection::open(&path).unwrap();
        let steps = [MIGRATIONS[0], LATER];
        assert_eq!(migrate(&mut conn, &steps).unwrap(), (1, 2));
        assert_eq!(migrate(&mut conn, &steps).unwrap(), (2, 2));
        let row: (String, i64, i64, String) = conn
            .query_row("SELECT user_id, last_seq, unread, locale FROM inbox", [], |row| {
                row.try_into()
            })
            .unwrap();
        assert_eq!(row, ("ann".into(), 3, 2, "en".into()));
    }

    #[test]
    fn what_the_first_version_stored_is_kept_with_what_later_ones_add() {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = version_1_with_a_row(&dir.path().join("store.db"));
        conn.execute_batch(
            "INSERT INTO event (event, source, event_id, type, time_ms, title, body, priority)
             VALUES (1, 's', 'told', 't', 5, '', '', 'high'), (2, 's', 'untold', 't', 6, '', '', 'low');
             INSERT INTO notification (inbox, seq, event, created_ms) VALUES (1, 3, 1, 77);
             INSERT INTO dead_letter (origin, reason, payload, at_ms) VALUES ('http', 'r', x'0102', 8);",
        )
        .unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let rows: String = conn
            .query_row(
                "SELECT (SELECT group_concat(stored_ms, ' ' ORDER BY event) FROM event) || '; ' ||
                 (SELECT stage || ' ' || payload_bytes || ' ' || (topic IS NULL) FROM dead_letter)
                 || '; ' || (SELECT last_seq || ' ' || unread || ' ' || forgotten_seq FROM inbox)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(rows, "77 6; decode 2 1; 3 2 0");
    }

    #[test]
    fn devices_of_the_version_before_become_devices_of_production_without_details() {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = Connection::open(dir.path().join("store.db")).unwrap();
        assert_eq!(migrate(&mut conn, &MIGRATIONS[..4]).unwrap(), (0, 4));
        conn.execute_batch(
            "INSERT INTO inbox (inbox, user_id) VALUES (1, 'ann');
             INSERT INTO device (inbox, device_id, platform, app, token, registered_ms)
             VALUES (1, 'phone', 'apns', 'app', 'token', 7);",
        )
        .unwrap();
        migrate(&mut conn, MIGRATIONS).unwrap();
        let row: (String, i64, String, i64) = conn
            .query_row(
                "SELECT token, registered_ms, environment, (p256dh IS NULL) + (auth IS NULL)
                 + (locale IS NULL) + (time_zone IS NULL) + (app_version IS NULL) FROM device",
                [],
                |row| row.try_into(),
            )
            .unwrap();
        assert_eq!(row, ("token".into(), 7, "production".into(), 5));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = version_1_with_a_row(&dir.path().join("store.db"));
        let broken = format!("{LATER} INSERT INTO no_such_table VALUES (1);");
        let error = migrate(&mut conn, &[MIGRATIONS[0], &broken]).unwrap_err();
        assert!(matches!(error, MigrateError::Step { version: 2, .. }), "{error}");
        assert!(!conn.table_exists(None, "added").unwrap());
        assert_eq!(migrate(&mut conn, &[MIGRATIONS[0], LATER]).unwrap(), (1, 2));
    }

    #[test]
    fn a_database_of_a_newer_program_is_refused() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", 999).unwrap();
        let error = migrate(&mut conn, MIGRATIONS).unwrap_err();
        assert!(matches!(error, MigrateError::Newer { found: 999, .. }), "{error}");
    }
}
