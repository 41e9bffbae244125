//! Records as rows have them.

use crate::error::words;
use ace_groupcomm::traits::storage::{Key, Page, Record, Revision, StorageError};
use bytes::Bytes;
use tokio_postgres::Row;

/// A record as a row has it: key, revision, value.
pub(crate) fn record(row: &Row) -> Result<(Key, Record), StorageError> {
    let corrupt = |error: tokio_postgres::Error| StorageError::Corrupt(words(&error));
    let key: &[u8] = row.try_get(0).map_err(corrupt)?;
    let revision: i64 = row.try_get(1).map_err(corrupt)?;
    let value: &[u8] = row.try_get(2).map_err(corrupt)?;
    let revision = u64::try_from(revision).map_err(|_| StorageError::Corrupt("a revision is negative".into()))?;
    Ok((
        Key::new(Bytes::copy_from_slice(key)),
        Record { revision: Revision(revision), value: Bytes::copy_from_slice(value) },
    ))
}

/// A page of rows, of which one more than asked for was read.
pub(crate) fn page(rows: &[Row], limit: usize) -> Result<Page, StorageError> {
    let records = rows.iter().take(limit).map(record).collect::<Result<_, _>>()?;
    Ok(Page { records, more: rows.len() > limit })
}

/// One more than the limit: so it shows whether more follow.
pub(crate) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
