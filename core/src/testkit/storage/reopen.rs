//! What a storage keeps when it is closed, or when its process ends.

use super::{Failure, get, key, put, require, write};
use crate::traits::storage::{CommitOutcome, Storage, Txn};

/// Runs a suite against storage that is opened again and again; `open` opens the same one each time, empty at first. A storage is
/// dropped before the next one is opened.
///
/// # Errors
/// The first thing that the contract asks for and that did not hold; what `open` says.
pub async fn reopening_suite<S: Storage>(open: impl AsyncFn() -> Result<S, Failure>) -> Result<(), Failure> {
    let store = open().await?;
    let kept = put(&store, &[("re/kept", Some("1")), ("re/empty", Some(""))]).await?;
    put(&store, &[("re/gone", Some("1"))]).await?;
    let removed = put(&store, &[("re/gone", None)]).await?;
    let absent = || Txn { expect: vec![(key("re/kept"), None)], write: write(&[("re/conflict", Some("1"))]) };
    let outcome = store.commit(vec![absent()]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Conflict(_)]), "a key that is there is not absent")?;
    drop(store);

    let store = open().await?;
    let read = get(&store, "re/kept").await?;
    require(read.is_some_and(|record| record.revision == kept && record.value == "1"), "what is done is there again")?;
    require(get(&store, "re/empty").await?.is_some_and(|record| record.value.is_empty()), "an empty value is a value")?;
    require(get(&store, "re/gone").await?.is_none(), "what was removed does not come back")?;
    require(get(&store, "re/conflict").await?.is_none(), "a conflict is not done later")?;
    let again = put(&store, &[("re/gone", Some("2"))]).await?;
    require(again > removed, "revisions grow, also across a delete and an end of the process")?;
    let outcome = store.commit(vec![absent()]).await;
    require(matches!(outcome.as_slice(), [CommitOutcome::Conflict(_)]), "expectations meet what was there before")?;
    let same = Txn { expect: vec![(key("re/kept"), Some(kept))], write: write(&[("re/kept", Some("2"))]) };
    let outcome = store.commit(vec![same]).await;
    require(
        matches!(outcome.as_slice(), [CommitOutcome::Done(_)]),
        "a revision from before is still that of its record",
    )?;
    drop(store);

    let store = open().await?;
    for (name, value) in [("re/kept", "2"), ("re/gone", "2")] {
        let read = get(&store, name).await?;
        require(read.is_some_and(|record| record.value == value), "a later value takes the place of a former one")?;
    }
    Ok(())
}
