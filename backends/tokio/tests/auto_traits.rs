//! What may be used from several threads, and what may go to another one.

use ace_backend_coap::{Client, Endpoint, Requester, Server};
use ace_backend_memory::MemoryStorage;
use ace_backend_tokio::{Clock, CryptoPool, Followed, Handle};
use ace_groupcomm::auth_server::AuthServer;
use ace_groupcomm::kdc::Kdc;
use ace_groupcomm::member::Member;
use ace_groupcomm::{Response, Secret};
use ace_oscore::Context;
use ace_profile_oscore::OscoreServer;

const fn is_shared<T: Send + Sync>() {}
const fn is_sent<T: Send>() {}

#[test]
fn handles_are_shared_and_engines_are_sent() {
    is_shared::<Handle>();
    is_shared::<Followed>();
    is_shared::<Clock>();
    is_shared::<OscoreServer>();
    is_shared::<MemoryStorage>();
    is_shared::<Requester>();
    is_shared::<Response>();
    is_shared::<Secret>();
    is_sent::<CryptoPool>();
    is_sent::<Kdc>();
    is_sent::<AuthServer>();
    is_sent::<Member>();
    is_sent::<Endpoint>();
    is_sent::<Server>();
    is_sent::<Client<Context>>();
}
