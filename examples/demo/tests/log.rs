//! What is logged, with everything that can be: no secret is in it.

use ace_demo::{Options, Shown, run};
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Covers: GO-15.1-01, TH-9-01/logs
#[tokio::test]
async fn no_secret_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let all = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    all.with_ansi(false).with_writer(move || writer.clone()).init();
    let mut steps = Vec::new();
    let outcome = run(Options { show_secrets: true }, |step| steps.push(step)).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("listening"), "the log is on");

    let field = |name: &str| outcome.joined.members[0].get(name).and_then(Value::as_str).unwrap().to_owned();
    let mut secrets = vec![hex::decode(field("ms")).unwrap(), hex::decode(field("salt")).unwrap()];
    // What the samples configure; each begins with this.
    secrets.push(b"sample".to_vec());
    // What went over the wire in `h'...'`: tokens, keys, challenges.
    let shown: String =
        steps.iter().filter(|step| matches!(step, Shown::Exchange(_))).map(|s| format!("{s:?}")).collect();
    let items: Vec<&str> = shown.split("h'").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    assert!(items.len() > 20);
    secrets.extend(items.into_iter().filter_map(|item| hex::decode(item).ok()).filter(|item| item.len() >= 8));
    for secret in secrets {
        for form in [hex::encode(&secret), hex::encode_upper(&secret), format!("{secret:?}"), format!("{secret:02x?}")]
        {
            let inner = form.trim_matches(['[', ']']);
            assert!(!log.contains(inner), "{form} is logged");
        }
    }
    assert!(!log.contains("sample"));
}
