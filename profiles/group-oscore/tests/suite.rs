//! The profile keeps the contract of application profiles, in each mode.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::testkit::profile::{Sides, suite};
use ace_profile_group_oscore::DESCRIPTOR;

fn map(values: &[(&str, &str)]) -> ConfigMap {
    let mut map = ConfigMap::default();
    for (key, value) in values {
        map.insert(*key, ConfigValue::Text((*value).into()));
    }
    map
}

#[test]
fn the_profile_passes_the_suite_in_each_mode() {
    let key = |byte: &str| byte.repeat(32);
    for mode in ["group", "group+pairwise"] {
        let members =
            [("a", "22"), ("b", "33")].map(|(subject, byte)| map(&[("subject", subject), ("key", &key(byte))]));
        let sides = Sides { group: map(&[("mode", mode), ("gm_key", &key("11"))]), members };
        assert_eq!(suite(&AwsLc, &DESCRIPTOR, &sides), Ok(()), "{mode}");
    }
}
