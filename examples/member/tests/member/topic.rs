//! Members of a topic's security group, through a real AS and a real KDC (pub-sub profile).

use crate::house::{House, joined, open, run};
use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::NodeName;
use ace_groupcomm::command::Command;
use ace_groupcomm::member::{Bytes, MemberEvent, Operation};
use ace_groupcomm::traits::crypto::SignatureAlgorithm;
use ace_groupcomm_messages::{PubsubKeyingMaterial, RawCbor};
use ace_member::Member;
use ace_oscore::Sequence;
use ace_profile_pubsub::PublisherCredential;
use ace_profile_pubsub::protect::{GroupKey, Publisher, Rejected, Subscriber};
use std::sync::Arc;

fn material(member: &Member<'_>) -> PubsubKeyingMaterial {
    PubsubKeyingMaterial::decode(&RawCbor::new(&member.group().unwrap().key.0).unwrap()).unwrap()
}

fn group_key(member: &Member<'_>) -> GroupKey {
    GroupKey::new(&material(member).group_key).unwrap()
}

/// Receives with what the reader knows of its group now.
fn receive(reader: &Member<'_>, subscriber: &mut Subscriber, object: &[u8]) -> Result<Vec<u8>, Rejected> {
    // The credentials that a member has are those of its version: a Sender ID may be somebody else's under another Gid.
    let current = material(reader).group_key.kid.clone();
    let known = |gid: &[u8], sender_id: &[u8]| {
        if gid != current {
            return None;
        }
        let peer = reader.group().unwrap().peers.iter().find(|peer| peer.id.0 == sender_id)?;
        PublisherCredential::new(SignatureAlgorithm::Ed25519, &peer.cred.0, Arc::new(AwsLc))
    };
    subscriber.receive(object, known).map(|received| received.data.to_vec())
}

#[tokio::test]
async fn what_is_published_is_read_until_the_publisher_is_put_out() {
    let house = House::new().await;
    let (lamp, switch) = house.of_topic();
    let (mut publisher, mut reader) = (open(&lamp), open(&switch));
    joined(&mut publisher).await.unwrap();
    joined(&mut reader).await.unwrap();
    assert!(material(&publisher).group_key == material(&reader).group_key);
    assert_eq!(material(&reader).group_sender_id, None);
    let sender_id = material(&publisher).group_sender_id.clone().unwrap();
    run(&mut reader, Operation::Observe).await.unwrap();
    reader.take_events();

    let identity = lamp.rules().unwrap().identity().unwrap().clone();
    let mut station = Publisher::new(group_key(&publisher), &sender_id, Sequence::all(), identity).unwrap();
    let mut subscriber = Subscriber::default();
    subscriber.install(group_key(&reader));
    let object = station.publish(b"21 degrees").unwrap();
    assert_eq!(receive(&reader, &mut subscriber, &object), Ok(b"21 degrees".to_vec()));
    assert_eq!(receive(&reader, &mut subscriber, &object), Err(Rejected::Replayed));

    // The operator puts the publisher out: the reader learns of the next version, and of who has left, which no message says.
    let node = NodeName::new(&publisher.group().unwrap().node);
    house.command(Command::Evict { group: "weather".into(), node }).await;
    assert!(reader.told().await.unwrap());
    let events = reader.take_events();
    assert_eq!(events, [MemberEvent::Rekeyed { num: 1 }, MemberEvent::Stale(vec![Bytes(sender_id.clone())])]);
    assert!(reader.group().unwrap().peers.is_empty());
    subscriber.install(group_key(&reader));
    let late = station.publish(b"22 degrees").unwrap();
    assert_eq!(receive(&reader, &mut subscriber, &late), Err(Rejected::UnknownPublisher), "under the former key too");
}
