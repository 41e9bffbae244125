//! Associations that pass from one process to another.

use crate::lab::*;
use ace_coap::numbers::option;
use ace_coap::security::{Inbound, MessageSecurity};
use ace_coap::{Code, Message};
use ace_groupcomm::traits::transport::{AssociationNeed, AssociationNotice, Associations};
use ace_oscore::Context;
use ace_profile_oscore::Responses;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

// Covers: OS-7.2-01, TH-1-01/own-partial-iv, TH-1-02/takeover-challenge, TH-1-02/takeover-term
#[test]
fn an_association_of_another_process_is_claimed_with_an_echo_and_nothing_less() {
    let (one, other) = (server(Responses::Numbered), server(Responses::Numbered).with_look_up());
    let (mut client, new) = agree(None);
    admit(&one, &new);
    numbers(&one, &new, 0, 64);
    let (first, pending) = request(&mut client);
    let mut sent = Vec::new();
    let held = verified(one.unprotect(first.clone())).1;
    sent.push(one.protect(content(), held).unwrap());
    // Captured, and sent to the other process.
    let held = later(other.unprotect(first.clone()));
    needs(&other);
    restored(&other, &new, 64, false);
    let asked = answer(other.unprotect_again(held));
    sent.extend([asked.clone(), answer(other.unprotect(first))]);
    assert!(needs(&other).is_empty(), "a replay claims nothing");

    let (again, mut pending) = echoing(&mut client, &asked, pending);
    // The former owner does not act on what answers another process's Echo.
    sent.push(answer(one.unprotect(again.clone())));
    let held = later(other.unprotect(again.clone()));
    later(other.unprotect(again.clone()));
    assert_eq!(needs(&other), [AssociationNeed::Claim(new.id.clone())], "once");
    sent.push(answer(other.unprotect(request(&mut client).0)));
    other.notice(AssociationNotice::Unavailable { id: new.id.clone() });
    later(other.unprotect(again.clone()));
    assert_eq!(needs(&other), [AssociationNeed::Claim(new.id.clone())], "and again where that failed");
    other.notice(AssociationNotice::Claimed { id: new.id.clone() });
    let (_, binding, fresh) = verified(other.unprotect_again(held));
    assert!(fresh);
    assert_eq!(answer(other.unprotect_again(again)).payload, b"Replay detected");
    let answered = other.protect(content(), binding).unwrap();
    assert_eq!(client.unprotect_response(&answered, &mut pending).unwrap().payload, b"content");
    sent.push(answered);

    // The former owner learns of it, and asks for an Echo of its own from then on.
    let (next, mut waits) = request(&mut client);
    let held = verified(one.unprotect(next)).1;
    one.notice(AssociationNotice::Lost { id: new.id.clone() });
    let busy = one.protect(Message::response(Code::SERVICE_UNAVAILABLE), held).unwrap();
    assert_eq!(client.unprotect_response(&busy, &mut waits).unwrap().code, Code::SERVICE_UNAVAILABLE);
    let (next, pending) = request(&mut client);
    let asked = answer(one.unprotect(next));
    sent.extend([busy, asked.clone()]);
    let nonces: BTreeSet<_> = sent.iter().filter_map(|message| message.options.first(option::OSCORE)).collect();
    assert!(nonces.len() == sent.len() && !nonces.contains(&[][..]), "each has a number, and no two the same");
    later(one.unprotect(echoing(&mut client, &asked, pending).0));
    assert_eq!(needs(&one), [AssociationNeed::Claim(new.id)]);
}

// Covers: OS-7.4-06, TH-1-03/one-step
#[test]
fn of_one_datagram_that_comes_on_two_sockets_at_once_one_is_accepted() {
    let server = server(Responses::ReuseNonce);
    let (mut client, new) = agree(None);
    admit(&server, &new);
    for _ in 0..200 {
        let (protected, _) = request(&mut client);
        let both = std::sync::Barrier::new(2);
        let accepted = || {
            both.wait();
            matches!(server.unprotect(protected.clone()), Inbound::Verified { .. })
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(accepted);
            (accepted(), other.join().unwrap())
        });
        assert!(one != other, "one of the two");
    }
}

#[test]
fn what_a_former_owner_acted_on_before_a_claim_is_not_acted_on_again() {
    let (one, other) = (server(Responses::Numbered), server(Responses::Numbered).with_look_up());
    let (mut client, new) = agree(None);
    admit(&one, &new);
    numbers(&one, &new, 0, 64);
    restored(&other, &new, 64, false);
    let (first, pending) = request(&mut client);
    let asked = answer(other.unprotect(first));
    // The answer to the Echo is under way, while the client goes on at the former owner.
    let (late, _) = echoing(&mut client, &asked, pending);
    let (acted, pending) = request(&mut client);
    verified(one.unprotect(acted.clone()));
    let held = later(other.unprotect(late));
    other.notice(AssociationNotice::Claimed { id: new.id });
    verified(other.unprotect_again(held));

    // Replayed, a later request than the one that claimed is still an old one.
    let asked = answer(other.unprotect(acted));
    let (proof, _) = echoing(&mut client, &asked, pending);
    assert!(verified(other.unprotect(proof)).2);
    verified(other.unprotect(request(&mut client).0));
}

#[test]
fn an_answer_to_an_echo_that_was_held_back_is_not_taken_for_new() {
    let seconds = Arc::new(AtomicUsize::new(1_000));
    let clock = Arc::clone(&seconds);
    let server = server(Responses::Numbered)
        .with_look_up()
        .with_clock(move || std::time::Duration::from_secs(clock.load(Ordering::Relaxed) as u64));
    let (mut client, new) = agree(None);
    restored(&server, &new, 64, false);
    let ask = |client: &mut Context| {
        let (asked, pending) = request(client);
        let asked = answer(server.unprotect(asked));
        let mut opened = pending;
        let echo = client.unprotect_response(&asked, &mut opened).unwrap();
        echo.options.first(option::ECHO).unwrap().to_vec()
    };
    let with = |client: &mut Context, echo: &[u8]| {
        let mut message = Message::request(Code::GET).with_path(["a"]);
        message.options.push(option::ECHO, echo);
        client.protect_request(&message).unwrap().0
    };
    let pass = |count| {
        seconds.fetch_add(count, Ordering::Relaxed);
    };
    let first = ask(&mut client);
    pass(30);
    assert_eq!(ask(&mut client), first, "a flood of replays does not change it");
    let (held, in_time) = (with(&mut client, &first), with(&mut client, &first));
    pass(30);
    later(server.unprotect(in_time));
    assert_eq!(needs(&server), [AssociationNeed::Claim(new.id.clone())]);
    server.notice(AssociationNotice::Unavailable { id: new.id });
    pass(1);
    answer(server.unprotect(held));
    assert!(needs(&server).is_empty(), "too late");
    let second = ask(&mut client);
    assert_ne!(second, first);
    pass(31);
    let third = ask(&mut client);
    assert_ne!(third, second, "and another one in time");
    later(server.unprotect(with(&mut client, &third)));
}
