//! The profile keeps the contract of application profiles.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::testkit::profile::{Sides, suite};
use custom_profile::DESCRIPTOR;

fn map(values: &[(&str, &str)]) -> ConfigMap {
    let mut map = ConfigMap::default();
    values.iter().for_each(|(key, value)| map.insert(*key, ConfigValue::Text((*value).into())));
    map
}

#[test]
fn the_profile_passes_the_suite() {
    let member = |subject: &str, byte: &str| {
        let mut member = map(&[("subject", subject), ("key", &byte.repeat(32))]);
        member.insert("bitrate", ConfigValue::Int(400));
        member
    };
    let mut group = map(&[("key", &"11".repeat(32)), ("suite", "AEAD_AES_256_GCM")]);
    group.insert("max_bitrate", ConfigValue::Int(3000));
    let sides = Sides { group, members: [member("a", "22"), member("b", "33")] };
    assert_eq!(suite(&AwsLc, &DESCRIPTOR, &sides), Ok(()));
}
