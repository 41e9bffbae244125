//! Observations that go on when another process takes the server's place.

use crate::lab::{Kept, Lab, Raw, get, of};
use ace_backend_coap::{Limits, Registration};
use ace_coap::numbers::option;
use ace_coap::security::PeerId;
use ace_coap::{Code, Message, Type};
use std::time::Duration;

fn register(id: u16, name: &[u8], path: &str) -> Message {
    let mut message = of(name, get(id, path));
    message.options.push(option::OBSERVE, &[]);
    message
}

fn kept(lab: &Lab) -> Vec<Kept> {
    lab.resources.kept.lock().unwrap().clone()
}

/// What has ended, once the server has looked.
async fn ended(lab: &Lab, raw: &Raw) -> Vec<Kept> {
    assert!(raw.is_quiet().await && raw.is_quiet().await);
    lab.resources.ended.lock().unwrap().clone()
}

#[tokio::test]
async fn what_was_observed_is_told_by_the_next_process() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    let first = raw.ask(&register(1, b"k1", "state")).await;
    assert!(first.options.has(option::OBSERVE));
    let all = kept(&lab);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, PeerId::new(b"k1"));
    // What is no registration, or of somebody whose observations end with the process, is not kept.
    raw.ask(&of(b"k1", get(2, "state"))).await;
    raw.ask(&register(3, b"a", "state")).await;
    let mut plain = get(4, "state");
    plain.options.push(option::OBSERVE, &[]);
    raw.ask(&plain).await;
    assert_eq!(kept(&lab), all);
    let address = lab.address;
    assert!(lab.end().await.ended.lock().unwrap().is_empty(), "it has not ended with the process");

    let (lab, resumed) = Lab::resuming(address, Limits::default(), &all).await;
    assert_eq!(resumed, [true]);
    let told = raw.message().await;
    assert_eq!((told.kind, &told.token), (Type::Confirmable, &first.token), "at once, since it may have changed");
    assert!(told.options.has(option::OBSERVE) && told.options.first(option::OSCORE) == Some(&b"k1"[..]));
    assert_eq!(told.payload, b"0");
    raw.send(&Message::empty(Type::Acknowledgement, told.id).encode()).await;
    lab.resources.change();
    let told = raw.message().await;
    assert_eq!(told.payload, b"1");
    assert!(lab.resources.ended.lock().unwrap().is_empty());
    raw.send(&Message::empty(Type::Reset, told.id).encode()).await;
    assert_eq!(ended(&lab, &raw).await, all, "the very bytes that were kept");
}

#[tokio::test]
async fn what_is_not_this_servers_is_not_taken_up() {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    for id in 1..=3 {
        raw.ask(&register(id, b"k1", "state")).await;
    }
    let all = kept(&lab);
    let address = lab.address;
    let kept_first = all[0].clone();
    let (other, resumed) = Lab::resuming("127.0.0.1:0".parse().unwrap(), Limits::default(), &all).await;
    assert_eq!(resumed, [false; 3], "another address");
    other.end().await;
    lab.end().await;
    let mut strange = Vec::new();
    let (peer, whole) = &all[0];
    for cut in 0..whole.name.len() {
        strange.push((peer.clone(), Registration { name: whole.name[..cut].to_vec(), ..whole.clone() }));
    }
    // Without its last part, an address of ours, it is one of the first release.
    let first_release = whole.state.len() - 6;
    for cut in (0..whole.state.len()).filter(|cut| *cut != first_release) {
        strange.push((peer.clone(), Registration { state: whole.state[..cut].to_vec(), ..whole.clone() }));
    }
    let mut foreign = whole.clone();
    let at = first_release - 2;
    assert_eq!(foreign.state[at..first_release], *b"k1");
    foreign.state[at] = b'x';
    strange.push((peer.clone(), foreign));
    let limits = Limits { observations_per_peer: 2, ..Limits::default() };
    let (lab, resumed) = Lab::resuming(address, limits, &[strange, all].concat()).await;
    let taken: Vec<usize> = (0..resumed.len() - 3).filter(|at| resumed[*at]).collect();
    assert_eq!(taken, [0; 0], "what is damaged or another protocol's");
    assert_eq!(resumed[resumed.len() - 3..], [true; 3]);
    let raw = Raw::new(&lab).await;
    assert_eq!(ended(&lab, &raw).await, [kept_first], "there was room for two, and the oldest has given way");
}

#[tokio::test]
async fn whatever_ends_an_observation_is_reported() {
    let limits = Limits {
        observations_per_peer: 2,
        ack_timeout: Duration::from_millis(20),
        max_retransmit: 0,
        ..Limits::default()
    };
    let lab = Lab::new(limits).await;
    let raw = Raw::new(&lab).await;
    let all = async |count: usize| {
        let ended = ended(&lab, &raw).await;
        assert_eq!(ended.len(), count, "{ended:?}");
        assert_eq!(*ended.last().unwrap(), *kept(&lab).get(count - 1).unwrap());
    };
    // The client says so.
    raw.ask(&register(1, b"k1", "state")).await;
    let mut cancel = of(b"k1", get(2, "state"));
    cancel.token = get(1, "state").token;
    cancel.options.push(option::OBSERVE, &[1]);
    raw.ask(&cancel).await;
    all(1).await;
    // It asks for another under the same token: the second is kept.
    let mut anew = register(3, b"k1", "state");
    raw.ask(&anew).await;
    (anew.id, anew.payload) = (4, vec![1]);
    anew.options.push(option::ACCEPT, &[]);
    raw.ask(&anew).await;
    all(2).await;
    // It is not there any more.
    lab.resources.change();
    raw.message().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    all(3).await;
    // Its association is gone.
    raw.ask(&register(5, b"k1", "state")).await;
    lab.resources.forget(b"k1");
    all(4).await;
    // The oldest gives way. One that is too long is not kept.
    let before = kept(&lab).len();
    for id in 6..=8 {
        assert!(raw.ask(&register(id, b"k2", "state")).await.options.has(option::OBSERVE));
    }
    let mut long = register(9, b"k3", "state");
    long.options.push(65_000, &[0; 1_100]);
    assert!(!raw.ask(&long).await.options.has(option::OBSERVE));
    assert_eq!((kept(&lab).len(), ended(&lab, &raw).await.len()), (before + 3, 5));
    // One that takes another's place needs none; one that is not answered yet takes some.
    raw.ask(&register(7, b"k2", "bare")).await;
    let mut again = register(10, b"k2", "state");
    again.token = get(7, "state").token;
    assert!(raw.ask(&again).await.options.has(option::OBSERVE));
    raw.send(&register(11, b"k4", "late").encode()).await;
    raw.send(&register(12, b"k4", "late").encode()).await;
    raw.send(&register(13, b"k4", "late").encode()).await;
    assert!(raw.is_quiet().await);
    assert_eq!(lab.resources.held.lock().unwrap().len(), 3);
    let of_k4 = kept(&lab).into_iter().filter(|(peer, _)| *peer == PeerId::new(b"k4"));
    assert_eq!(of_k4.count(), 2, "as many as there would be room for");
}

/// What comes of an observation of which nothing can be said for a while.
async fn in_trouble(code: Code) {
    let lab = Lab::new(Limits::default()).await;
    let raw = Raw::new(&lab).await;
    raw.ask(&register(1, b"k1", "state")).await;
    *lab.resources.trouble.lock().unwrap() = Some(code);
    lab.resources.change();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(raw.is_quiet().await, "nothing can be said of it now");
    assert_eq!(*lab.resources.troubled.lock().unwrap(), 1, "it is not asked all the time");
    *lab.resources.trouble.lock().unwrap() = None;
    let told = raw.later(Duration::from_secs(15)).await;
    assert_eq!((told.code, told.payload.as_slice()), (Code::CONTENT, &b"1"[..]), "but later");
    assert!(ended(&lab, &raw).await.is_empty());
}

#[tokio::test]
async fn what_passes_ends_no_observation() {
    tokio::join!(in_trouble(Code::SERVICE_UNAVAILABLE), in_trouble(Code::INTERNAL_SERVER_ERROR));
}

#[tokio::test]
async fn what_may_not_be_protected_is_not_told() {
    in_trouble(Code::UNAUTHORIZED).await;
}

#[tokio::test]
async fn who_may_do_less_is_asked_for_again() {
    let lab = Lab::new(Limits::default()).await;
    let (raw, other) = (Raw::new(&lab).await, Raw::new(&lab).await);
    raw.ask(&register(1, b"k1", "state")).await;
    other.ask(&register(1, b"k2", "state")).await;
    lab.notifier().restricted(PeerId::new(b"k1"));
    let told = raw.message().await;
    assert_eq!((told.code, told.payload.as_slice()), (Code::CONTENT, &b"0"[..]), "it may go on");
    raw.send(&Message::empty(Type::Acknowledgement, told.id).encode()).await;
    assert!(raw.is_quiet().await && other.is_quiet().await, "nobody else is told");
    *lab.resources.gone.lock().unwrap() = true;
    lab.notifier().restricted(PeerId::new(b"k1"));
    let last = raw.message().await;
    assert!(last.code == Code::NOT_FOUND && !last.options.has(option::OBSERVE));
    raw.send(&Message::empty(Type::Acknowledgement, last.id).encode()).await;
    assert_eq!(ended(&lab, &raw).await, kept(&lab)[..1]);
}
