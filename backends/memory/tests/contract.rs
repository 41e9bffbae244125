//! The storage suite.

use ace_backend_memory::MemoryStorage;
use ace_groupcomm::testkit::storage::suite;

#[tokio::test]
async fn memory_keeps_the_contract() {
    assert_eq!(suite(&MemoryStorage::new()).await, Ok(()));
}
