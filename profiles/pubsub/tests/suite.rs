//! The profiles keep the contract of application profiles, with each signature algorithm.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::config::{ConfigMap, ConfigValue};
use ace_groupcomm::testkit::profile::{Sides, suite};
use ace_profile_pubsub::{COAP, MQTT};

fn map(values: &[(&str, &str)]) -> ConfigMap {
    let mut map = ConfigMap::default();
    for (key, value) in values {
        map.insert(*key, ConfigValue::Text((*value).into()));
    }
    map
}

#[test]
fn the_profiles_pass_the_suite_with_each_signature_algorithm() {
    let key = |byte: &str| byte.repeat(32);
    for profile in [COAP, MQTT] {
        for sign_alg in ["EdDSA", "ES256"] {
            let members = [("a", "22"), ("b", "33")]
                .map(|(subject, byte)| map(&[("subject", subject), ("key", &key(byte)), ("sign_alg", sign_alg)]));
            let sides = Sides { group: map(&[("sign_alg", sign_alg), ("kdc_key", &key("11"))]), members };
            assert_eq!(suite(&AwsLc, &profile, &sides), Ok(()), "{} {sign_alg}", profile.name);
        }
    }
}
