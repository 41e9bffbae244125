//! The floor of an operation: what it cannot do without, timed on this machine, now.

use ace_backend_aws_lc::AwsLc;
use ace_groupcomm::Secret;
use ace_groupcomm::traits::crypto::{CryptoJob, CryptoOutput, CryptoProvider, SignatureAlgorithm};
use ace_oscore::Aead;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// For how long each part is timed.
const TIME: Duration = Duration::from_millis(300);

/// Microseconds of one call, the best of five parts of the time: what disturbs it only ever slows it down.
fn time(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        let mut calls = 0_u32;
        while begun.elapsed() < TIME / 5 {
            for _ in 0..16 {
                call();
            }
            calls += 16;
        }
        best = best.min(begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls));
    }
    best
}

/// Microseconds of a signature's verification and of its making.
#[must_use]
pub fn signatures() -> (f64, f64) {
    let Some(key) = AwsLc.signing_key(SignatureAlgorithm::Ed25519, &Secret::new(vec![5; 32])) else {
        return (0.0, 0.0);
    };
    let sign = CryptoJob::Sign { key: Arc::clone(&key), message: vec![1; 64] };
    let Some(CryptoOutput::Signature(signature)) = AwsLc.run(std::slice::from_ref(&sign)).pop() else {
        return (0.0, 0.0);
    };
    let verify =
        CryptoJob::Verify { algorithm: key.algorithm(), key: key.public().to_vec(), message: vec![1; 64], signature };
    let one = |job: &CryptoJob| {
        std::hint::black_box(AwsLc.run(std::slice::from_ref(job)));
    };
    (time(|| one(&verify)), time(|| one(&sign)))
}

/// Microseconds of opening a message and sealing another, of these lengths.
#[must_use]
pub fn aead(opened: usize, sealed: usize) -> f64 {
    let (aead, key, nonce, aad) = (Aead::AesCcm16_64_128, [1; 16], [2; 13], [3; 24]);
    let mut received = vec![0; opened];
    let _ = aead.seal(&key, &nonce, &aad, &mut received);
    time(|| {
        std::hint::black_box(aead.open(&key, &nonce, &aad, &received));
        let mut text = vec![0; sealed];
        let _ = aead.seal(&key, &nonce, &aad, &mut text);
        std::hint::black_box(text);
    })
}

/// Microseconds of receiving a datagram and sending another, of these lengths: a server that does nothing else, with
/// enough datagrams waiting that it never sleeps.
///
/// # Errors
/// [`std::io::Error`] of a socket.
pub fn exchange(received: usize, sent: usize) -> std::io::Result<f64> {
    static STOP: AtomicBool = AtomicBool::new(false);
    STOP.store(false, Ordering::SeqCst);
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let load = std::thread::spawn(move || -> std::io::Result<()> {
        let client = UdpSocket::bind("127.0.0.1:0")?;
        client.connect(address)?;
        client.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (request, mut buffer) = (vec![0; received], [0; 2_048]);
        for _ in 0..64 {
            client.send(&request)?;
        }
        while !STOP.load(Ordering::Relaxed) {
            let _ = client.recv(&mut buffer);
            client.send(&request)?;
        }
        Ok(())
    });
    let (mut buffer, answer) = ([0; 2_048], vec![0; sent]);
    let begun = Instant::now();
    let mut exchanges = 0_u32;
    while begun.elapsed() < TIME * 3 {
        for _ in 0..64 {
            if let Ok((_, from)) = server.recv_from(&mut buffer) {
                server.send_to(&answer, from)?;
                exchanges += 1;
            }
        }
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(exchanges.max(1));
    STOP.store(true, Ordering::SeqCst);
    let _ = load.join();
    Ok(each)
}
