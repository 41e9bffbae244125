//! A network side that keeps a table of associations: those of a former process are looked up.

use ace_backend_aws_lc::AwsLc;
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{AssociationTable, Clock, CryptoPool, Handle, spawn};
use ace_groupcomm::command::Command;
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::testkit::{build, desk, toy};
use ace_groupcomm::traits::storage::Storage;
use ace_groupcomm::{AssociationId, Caller, Method, Status, TokenHash};
use ace_groupcomm_messages::TokenTransferResponse;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The number of the toy transport profile.
const TOY: i64 = -70_000;

async fn start(storage: &Arc<dyn Storage>, table: &Arc<AssociationTable>) -> (Handle, JoinHandle<()>) {
    let validator = Box::new(build::validator(&["g1"]));
    let kdc = Kdc::new(desk::config(&["g1"]), &toy::registry(), validator, storage.sharing(), Arc::new(AwsLc)).unwrap();
    let pool = CryptoPool::inline(Arc::new(AwsLc));
    let (handle, driver) = spawn(kdc, Arc::clone(storage), Arc::clone(table) as _, pool, Clock::system());
    handle.ready().await.unwrap();
    (handle, driver)
}

#[tokio::test]
async fn an_association_of_a_former_process_is_looked_up_and_one_that_ended_is_not_there() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let table = Arc::new(AssociationTable::new(TOY));
    let (handle, driver) = start(&storage, &table).await;
    let client = build::TestClient::new(&AwsLc, 1).unwrap();
    let now = Clock::system().now().unix.seconds();
    let token = build::token(1, &client.claims(&[("g1", 1)], now + 1_000));
    let answer = handle.call(Caller::anonymous(), build::token_post(&token)).await;
    let id = TokenTransferResponse::decode(&answer.payload).unwrap().server_recipient_id.unwrap();
    let id = AssociationId::from(id);
    let waiting = table.find(&handle, &id).await.unwrap();
    assert_eq!((waiting.profile, waiting.material.expose().len()), (TOY, 48));
    assert_eq!(handle.resolve(&id).await.as_ref(), Some(&waiting), "also while it waits for its proof");
    let num = || build::group_request(Method::Get, "g1", &["num"]);
    assert_eq!(handle.call(Caller::peer(id.clone()), num()).await.status, Status::Forbidden, "proven, and no member");
    handle.stop().await;
    driver.await.unwrap();

    let (table, other) = (Arc::new(AssociationTable::new(TOY)), AssociationTable::new(7));
    let (handle, _driver) = start(&storage, &table).await;
    let both = tokio::join!(table.find(&handle, &id), handle.resolve(&id));
    assert_eq!((both.0.as_ref(), both.1.as_ref()), (Some(&waiting), Some(&waiting)));
    assert_eq!(table.find(&handle, &id).await, Some(waiting), "it is known now");
    assert_eq!(other.find(&handle, &id).await, None, "of another profile");
    assert_eq!(table.find(&handle, &b"nobody".into()).await, None);
    handle.command(Command::Revoke(TokenHash::of(&token))).await.unwrap();
    assert_eq!(table.find(&handle, &id).await, None, "its token has ended");
}
