//! The whole way, over real UDP: what the demo shows is what happened.

use ace_demo::{Options, Shown, run};
use serde_json::Value;

fn text(steps: &[Shown]) -> String {
    steps.iter().map(|step| format!("{step:?}\n")).collect()
}

#[tokio::test]
async fn three_members_end_with_equal_keys_and_nobody_sees_them() {
    let mut steps = Vec::new();
    let outcome = run(Options::default(), |step| steps.push(step)).await.unwrap();
    assert!(outcome.is_right());
    let json = outcome.json();
    let members = json.get("members").and_then(Value::as_array).unwrap();
    let field = |name: &str| members.iter().map(|m| m.get(name).cloned().unwrap()).collect::<Vec<_>>();
    assert_eq!(field("name"), ["lamp", "switch", "sensor"]);
    assert_eq!(field("sender_id"), ["00", "01", "02"]);
    assert_eq!(field("group"), ["lamps"; 3]);
    assert_eq!(field("num"), [0; 3]);
    let digests = field("key_digest");
    assert!(digests[0].as_str().unwrap().len() == 64 && digests.iter().all(|digest| *digest == digests[0]));

    let shown = text(&steps);
    assert_eq!(steps.iter().filter(|step| matches!(step, Shown::Heading(_))).count(), 11);
    let lines = [
        "POST /token",
        "POST /authz-info",
        "POST /ace-group/lamps",
        "/ace-group/lamps/creds",
        "2.01 (Created)",
        "hidden, 16 bytes",
    ];
    for line in lines {
        assert!(shown.contains(line), "{line}");
    }
    let after = &json["after"];
    let names = |held: &Value| -> Vec<Value> {
        held["members"].as_array().unwrap().iter().map(|member| member["name"].clone()).collect()
    };
    assert_eq!((names(after), &after["equal"]), (vec!["lamp".into(), "switch".into()], &Value::Bool(true)));
    assert_eq!((&json["left"][0], &json["revoked"][0]), (&"sensor".into(), &"switch".into()));
    assert_eq!(names(&json["after_revocation"]), ["lamp"]);
    let versions = [after, &json["after_revocation"]].map(|held| held["members"][0]["num"].clone());
    assert_eq!(versions, [1, 2]);
    let mut digests = vec![digests[0].clone()];
    digests.extend([after, &json["after_revocation"]].map(|held| held["members"][0]["key_digest"].clone()));
    digests.dedup();
    assert_eq!(digests.len(), 3, "new keys each time");
    let events: Vec<String> = steps
        .iter()
        .filter_map(|step| match step {
            Shown::Event(event) => Some(format!("{} {}", event["name"].as_str()?, event["event"].as_str()?)),
            _ => None,
        })
        .collect();
    let wanted =
        ["sensor left", "lamp stale", "lamp rekeyed", "switch stale", "switch rekeyed", "lamp stale", "lamp rekeyed"];
    assert_eq!(events, wanted);

    // All but the way to an association is protected.
    for step in &steps {
        if let Shown::Exchange(event) = step {
            assert_eq!(event.protected, !event.request.contains("/authz-info"), "{event:?}");
        }
    }
    // Sample secrets are "sample…" in ASCII.
    assert!(!shown.contains("73616d706c65"), "a configured secret is shown");
    assert!(members.iter().all(|member| member.get("ms").is_none()));
}

#[tokio::test]
async fn secrets_are_shown_when_asked_for() {
    let mut steps = Vec::new();
    let outcome = run(Options { show_secrets: true }, |step| steps.push(step)).await.unwrap();
    let ms = outcome.joined.members[0].get("ms").and_then(Value::as_str).unwrap();
    assert_eq!(ms.len(), 32);
    assert!(text(&steps).contains(ms) && !text(&steps).contains("hidden"));
}
