//! What the fuzzer has found interesting goes through each target.

use std::path::Path;

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 20, "{target}: {} inputs", files.len());
    for file in files {
        run(&std::fs::read(file).unwrap());
    }
}

#[test]
fn messages() {
    each("messages", ace_fuzz::messages);
}

#[test]
fn coap() {
    each("coap", ace_fuzz::coap);
}

#[test]
fn oscore() {
    each("oscore", ace_fuzz::oscore);
}

#[test]
fn endpoint() {
    each("endpoint", ace_fuzz::endpoint);
}
