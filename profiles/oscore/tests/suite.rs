//! The profile keeps the contract of transport profiles.

use ace_groupcomm::testkit::build::transfer;
use ace_groupcomm::testkit::transport::suite;
use ace_groupcomm_messages::{Confirmation, OscoreInputMaterial};
use ace_profile_oscore::DESCRIPTOR;

#[test]
fn the_profile_passes_the_suite() {
    let post = transfer(b"token", &[1; 8]);
    let material = OscoreInputMaterial::new(vec![1], vec![2; 16]);
    assert_eq!(suite(&DESCRIPTOR, &post, &Confirmation::Osc(material)), Ok(()));
}
