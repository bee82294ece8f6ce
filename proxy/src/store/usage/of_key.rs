//! SQLite: what finds the calls of a key. It is written with the calls and not by
//! them, in its own order: an index would take each call at another place.

use std::sync::LazyLock;

use sqlx::AnyConnection;

use super::UsageRow;
use crate::key::{KeyHash, own_key};
use crate::store::many::full;

/// Calls `u` of the key `$1`, found in one part `p` after another.
macro_rules! of_key {
    () => {
        "usage_part p
         CROSS JOIN usage_of_key k ON k.part = p.part AND k.key_hash = $1
         CROSS JOIN usage u ON u.request_id = k.request_id"
    };
}
pub(in crate::store) use of_key;

const COLUMNS: usize = 4;

static RECORD: LazyLock<[String; full::SIZES.len()]> = LazyLock::new(|| {
    let before = "INSERT OR FAIL INTO usage_of_key
        (part, key_hash, started_at_us, request_id) VALUES ";
    full::texts(before, COLUMNS, "")
});

/// In whatever part a call is, and whether it can be found there already or not.
static FIND: LazyLock<[String; full::SIZES.len()]> = LazyLock::new(|| {
    let before = "INSERT INTO usage_of_key (part, key_hash, started_at_us, request_id)
        SELECT u.part, u.key_hash, u.started_at_us, u.request_id FROM (VALUES ";
    let after = ") asked CROSS JOIN usage u
        WHERE u.request_id = asked.column1 AND u.key_hash IS NOT NULL ON CONFLICT DO NOTHING";
    full::texts(before, 1, after)
});

/// Of rows that have just been written to this part, none of which was there.
pub(super) async fn record(
    connection: &mut AnyConnection,
    rows: &[UsageRow],
    part: i64,
) -> Result<(), sqlx::Error> {
    let of_keys = rows
        .iter()
        .filter_map(|row| Some((own_key(&row.accounts)?, row)));
    let mut sorted: Vec<(KeyHash, &UsageRow)> = of_keys.collect();
    sorted.sort_unstable_by_key(|(key, row)| (*key, row.started_at, row.request_id));
    for (size, rows) in full::chunks(&sorted) {
        let mut query = sqlx::query(RECORD[size].as_str());
        for (key, row) in rows {
            query = query
                .bind(part)
                .bind(key.to_string())
                .bind(row.started_at.timestamp_micros())
                .bind(row.request_id.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Of rows some of which were there before, perhaps in another part.
pub(super) async fn find(
    connection: &mut AnyConnection,
    rows: &[&UsageRow],
) -> Result<(), sqlx::Error> {
    for (size, rows) in full::chunks(rows) {
        let mut query = sqlx::query(FIND[size].as_str());
        for row in rows {
            query = query.bind(row.request_id.to_string());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
