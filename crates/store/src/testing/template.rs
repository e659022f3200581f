//! The migrated template, and databases copied from it.

use std::time::{Duration, SystemTime};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{PREFIX, TestDbError, drop_database, with_database};

/// Template names begin with this and end with the migrations' fingerprint.
const TEMPLATE_PREFIX: &str = "lookout_template_";

/// Advisory lock around making the template: "lookout" in ASCII and a 2.
const LOCK: i64 = 0x6c6f_6f6b_6f75_7402;

/// A test database older than this belongs to a run that crashed.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// How often to try again when the template goes away or has a visitor.
const ATTEMPTS: u32 = 5;

/// Creates the database `name`, `migrated` or empty.
pub(super) async fn create(admin: &str, name: &str, migrated: bool) -> Result<(), TestDbError> {
    let mut connection = PgConnection::connect(admin).await?;
    let template =
        if migrated { format!("{TEMPLATE_PREFIX}{:016x}", schema::fingerprint()) } else { "template0".to_owned() };
    let mut attempt = 0;
    loop {
        attempt += 1;
        if migrated {
            ensure(&mut connection, admin, &template).await?;
        }
        let create = AssertSqlSafe(format!("create database {name} template {template}"));
        match sqlx::query(create).execute(&mut connection).await {
            Ok(_) => break,
            // invalid_catalog_name: somebody dropped the template just now;
            // object_in_use: somebody looks into it.
            Err(sqlx::Error::Database(error))
                if attempt < ATTEMPTS && matches!(error.code().as_deref(), Some("3D000" | "55006")) => {}
            Err(error) => return Err(error.into()),
        }
    }
    connection.close().await?;
    Ok(())
}

/// Makes the template unless it is there.
///
/// It is finished once nobody may connect to it any more: a copy fails while
/// the original has visitors, so this both marks and protects it.
async fn ensure(connection: &mut PgConnection, admin: &str, template: &str) -> Result<(), TestDbError> {
    if is_finished(connection, template).await? {
        return Ok(());
    }
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
    let made = make(connection, admin, template).await;
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut *connection).await?;
    made
}

async fn make(connection: &mut PgConnection, admin: &str, template: &str) -> Result<(), TestDbError> {
    if is_finished(connection, template).await? {
        return Ok(());
    }
    drop_abandoned(connection).await?;
    drop_database(connection, template).await?;
    // template0: template1 may hold things of the machine's owner.
    let create = format!("create database {template} template template0");
    sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
    schema::migrate(&with_database(admin, template)?).await?;
    let finish = format!("alter database {template} with allow_connections false");
    sqlx::query(AssertSqlSafe(finish)).execute(connection).await?;
    Ok(())
}

async fn is_finished(connection: &mut PgConnection, template: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("select 1 from pg_database where datname = $1 and not datallowconn")
        .bind(template)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Drops what crashed runs left: old, and nobody is connected.
async fn drop_abandoned(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let idle: Vec<String> = sqlx::query_scalar(
        "select datname::text from pg_database
         where starts_with(datname::text, $1) and datdba = current_user::regrole
           and not exists (select 1 from pg_stat_activity a where a.datid = pg_database.oid)",
    )
    .bind(PREFIX)
    .fetch_all(&mut *connection)
    .await?;
    for name in idle.iter().filter(|name| is_abandoned(name, SystemTime::now())) {
        drop_database(connection, name).await?;
    }
    Ok(())
}

fn is_abandoned(name: &str, now: SystemTime) -> bool {
    let made = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('_').next()?.parse().ok())
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    made.and_then(|made| now.duration_since(made).ok()).is_some_and(|age| age > ABANDONED)
}

/// Drops every test database and template: for a server that nobody else uses.
pub(super) async fn drop_all(admin: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(admin).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "select datname::text from pg_database
         where starts_with(datname::text, $1) or starts_with(datname::text, $2)",
    )
    .bind(PREFIX)
    .bind(TEMPLATE_PREFIX)
    .fetch_all(&mut connection)
    .await?;
    for name in names {
        drop_database(&mut connection, &name).await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_databases_over_an_hour_old_are_abandoned() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        assert!(is_abandoned("lookout_test_96000_17_0", now));
        assert!(!is_abandoned("lookout_test_99000_17_0", now));
        assert!(!is_abandoned("lookout_test_100100_17_0", now));
        assert!(!is_abandoned("lookout_test_mine", now));
        assert!(!is_abandoned("lookout", now));
    }
}
