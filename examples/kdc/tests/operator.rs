//! An operator at the command line of a KDC that runs, with an AS and members beside it.

use ace_backend_daemon::{Loaded, Running, new_storage_keys};
use ace_groupcomm::member::Operation;
use ace_member::show::Style;
use ace_member::{Member, MemberSettings, ProgramError};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const KDC: &str = env!("CARGO_BIN_EXE_ace-kdc");

/// A KDC that runs as a process, its folder, and an AS.
struct House {
    folder: TempDir,
    kdc: Child,
    address: SocketAddr,
    figures: SocketAddr,
    auth_server: Running,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.kdc.kill();
        let _ = self.kdc.wait();
    }
}

/// A port that nobody has now.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts it, and waits until it listens.
fn start(folder: &TempDir) -> (Child, SocketAddr) {
    let mut kdc = Command::new(KDC);
    kdc.arg("--config").arg(folder.path().join("kdc.toml"));
    kdc.arg("--storage").arg(format!("disk:{}", folder.path().join("state").display()));
    let mut kdc = kdc.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(kdc.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("it has ended").unwrap();
        if let Some((_, address)) = line.split_once("listening address=") {
            break address.trim().parse().unwrap();
        }
    };
    // Nobody must have to wait for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (kdc, address)
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        new_storage_keys(&folder.path().join("storage-keys.toml")).unwrap();
        let figures = free_port();
        let text = include_str!("../kdc.toml").replace("# storage =", "storage =");
        let text = text.replace("\"127.0.0.1:5683\", \"[::1]:5683\"", "\"127.0.0.1:0\"");
        let text = format!("audit = \"audit.log\"\nfigures = \"{figures}\"\n{text}");
        std::fs::write(folder.path().join("kdc.toml"), text).unwrap();
        let (kdc, address) = start(&folder);
        let sample = include_str!("../../as/as.toml");
        // What the AS says of groups that are made later.
        let policies = ["lamp", "switch"].map(|client| {
            format!("[[policy]]\nclient = \"{client}\"\naudience = \"kdc1\"\ngroup = \"yard\"\nroles = \"requester+responder\"\n")
        });
        let text = format!("{sample}\n{}", policies.concat());
        let mut loaded: Loaded<ace_as::Config> = Loaded::parse(&folder.path().join("as.toml"), text).unwrap();
        loaded.config.listen = vec![([127, 0, 0, 1], 0).into()];
        let auth_server = ace_as::start(&loaded, "memory:").await.unwrap();
        Self { folder, kdc, address, figures, auth_server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn member(&self, sample: &str, group: &str) -> MemberSettings {
        let text = sample.replace("name = \"lamps\"", &format!("name = \"{group}\""));
        let text = text.replace(".state\"", &format!("-{group}.state\""));
        let text = text.replace("roles = \"responder\"", "roles = \"requester+responder\"");
        let text = if group == "yard" {
            text
        } else {
            text.replace("roles = \"requester+responder\"", "roles = \"responder\"")
        };
        let mut loaded: Loaded<ace_member::Config> = Loaded::parse(&self.path("member.toml"), text).unwrap();
        loaded.config.auth_server.address = self.auth_server.addresses[0];
        loaded.config.kdc.address = self.address;
        MemberSettings::new(&loaded).unwrap()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(KDC);
        command.arg("--config").arg(self.path("kdc.toml"));
        command.arg("--storage").arg(format!("disk:{}", self.path("state").display()));
        command.args(words).output().unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[words, &["--json"]].concat())).unwrap()
    }

    /// What it complains of.
    fn refuses(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    /// What Prometheus reads.
    fn figures(&self) -> String {
        let mut stream = TcpStream::connect(self.figures).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

const LAMP: &str = include_str!("../../member/member.toml");
const SWITCH: &str = include_str!("../../member/switch.toml");

/// A member does this, from its state on.
async fn run(settings: &MemberSettings, operations: &[Operation]) -> Result<(), ProgramError> {
    let mut member = Member::open(settings, Style::default(), |_| ())?;
    for operation in operations {
        member.run(*operation).await?;
    }
    member.close()
}

async fn join(settings: &MemberSettings) -> Result<(), ProgramError> {
    run(settings, &[Operation::Token, Operation::Upload, Operation::Join]).await
}

/// The group of a file that an operator writes.
fn yard(seed: &str, more: &str) -> String {
    format!(
        "name = \"yard\"\nprofile = \"coap_group_oscore_app\"\nissuers = [\"as1\"]\n\n[parameters]\ngm_key = \"{seed}\"\n{more}"
    )
}

const SEED: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

// Covers: TH-9-01/audit-log, TH-9-01/metrics
// Covers: GO-15.1-02
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_an_operator() {
    let house = House::new().await;
    assert!(house.says(&["groups"]).lines().any(|line| line.starts_with("alarms  coap_group_oscore_app  yes")));
    // A group is made, and its file may go.
    std::fs::write(house.path("yard.toml"), yard(SEED, "mode = \"group\"\n")).unwrap();
    let yard_file = house.path("yard.toml").display().to_string();
    assert!(house.says(&["create", &yard_file]).starts_with("the group is there, with the Gid "));
    let discovered = discover(house.address);
    assert!(discovered.contains("</ace-group/yard>;rt=\"core.osc.gm\""), "{discovered}");
    let shown = house.says(&["group", "yard"]);
    assert!(shown.contains("gm_key: the key with the public key ") && shown.contains("issuers: as1"), "{shown}");
    assert!(!shown.contains(SEED), "{shown}");

    let (lamp, switch) = (house.member(LAMP, "yard"), house.member(SWITCH, "yard"));
    join(&lamp).await.unwrap();
    join(&switch).await.unwrap();
    let members = house.json(&["members", "yard"]);
    assert_eq!(members["entries"].as_array().unwrap().len(), 2);
    let of = |name: &str| {
        let entries = members["entries"].as_array().unwrap();
        entries.iter().find(|member| member["subject"] == name).unwrap().clone()
    };
    assert_eq!(of("lamp")["roles"], serde_json::json!(["requester", "responder"]));
    let page = house.json(&["members", "yard", "--limit", "1"]);
    let rest = house.json(&["members", "yard", "--limit", "1", "--after", page["more"].as_str().unwrap()]);
    assert_ne!(page["entries"][0]["node"], rest["entries"][0]["node"]);
    assert_eq!(house.says(&["members", "yard", "--after", &"ff".repeat(16)]), "no members\n");

    // One is put out, and stays out; the other one's token is revoked.
    let node = of("lamp")["node"].as_str().unwrap().to_owned();
    assert!(house.says(&["evict", "yard", &node]).contains("(lamp) is out, until 20"));
    assert!(matches!(run(&lamp, &[Operation::Keys]).await, Err(ProgramError::Member(_))));
    assert!(matches!(join(&lamp).await, Err(ProgramError::Member(_))));
    assert!(house.says(&["bans", "yard"]).contains(&node));
    assert!(house.says(&["lift", "yard", &node]).contains("may join again"));
    join(&lamp).await.unwrap();
    let hash = of("switch")["token_hash"].as_str().unwrap().to_owned();
    std::fs::write(house.path("revoked"), format!("{}\n\n{hash}\n", "00".repeat(33))).unwrap();
    let told = house.says(&["revoke", "--file", &house.path("revoked").display().to_string()]);
    assert_eq!(told, "revoked: no client has this token now\nrevoked: switch is out of yard\n");
    assert!(matches!(run(&switch, &[Operation::Keys]).await, Err(ProgramError::Member(_))));

    // It rests, is kept, and goes.
    assert_eq!(house.says(&["deactivate", "yard"]), "the group is now inactive\n");
    assert_eq!(house.says(&["deactivate", "yard"]), "the group is already inactive\n");
    assert!(matches!(join(&switch).await, Err(ProgramError::Member(_))));
    assert_eq!(house.says(&["activate", "yard"]), "the group is now active\n");
    house.says(&["backup", &house.path("a.backup").display().to_string()]);
    assert!(house.refuses(&["delete", "yard"]).contains("the group has 1 member; --yes deletes it with them"));
    assert_eq!(house.says(&["delete", "yard", "--yes"]), "the group is gone; it had 1 members\n");
    assert!(matches!(run(&lamp, &[Operation::Keys]).await, Err(ProgramError::Member(_))));
    assert_eq!(discover(house.address), "");
    assert!(house.says(&["check"]).contains("2 groups"));

    let status = house.json(&["status"]);
    assert_eq!((&status["ready"], &status["storage"]), (&true.into(), &true.into()));
    assert!(status["figures"]["requests_total"].as_u64().unwrap() > 10);
    let figures = (0..40).map(|_| house.figures()).find(|figures| {
        let all = ["ace_ready 1", "ace_groups 2", "ace_group_members{group=\"lamps\"} 0", "ace_answers_total{"];
        let has_all = all.iter().all(|name| figures.contains(name));
        if !has_all {
            std::thread::sleep(Duration::from_millis(500));
        }
        has_all
    });
    let figures = figures.expect("they come every five seconds");
    assert!(figures.contains("ace_refusals_total{reason=\""), "{figures}");
    // What leaves the machine tells of no client; what does is the operator's alone.
    for of_client in ["switch", &node, &hash] {
        assert!(!figures.contains(of_client), "{figures}");
    }
    let mode = std::fs::metadata(house.path("audit.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let audit = std::fs::read_to_string(house.path("audit.log")).unwrap();
    let said = |event: &str| audit.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count();
    assert_eq!(["group created", "group deactivated", "group activated", "group deleted"].map(said), [1; 4]);
    assert_eq!((said("joined"), said("membership ended"), said("ban lifted"), said("token revoked")), (3, 2, 1, 1));
    assert!(said("refused") >= 3 && audit.contains("the operator has put the member out"));
    assert!(house.says(&["check-audit", &house.path("audit.log").display().to_string()]).contains("none is missing"));
    for secret in [SEED, "73616d706c65"] {
        assert!(!audit.contains(secret) && !figures.contains(secret));
    }
}

/// What `/.well-known/core` says of the group.
fn discover(kdc: SocketAddr) -> String {
    use ace_coap::numbers::option;
    use ace_coap::{Code, Message};
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The links follow a moment after the command.
    std::thread::sleep(Duration::from_millis(200));
    let mut request = Message { id: 7, ..Message::request(Code::GET).with_path([".well-known", "core"]) };
    // A short answer: nobody has proven anything.
    request.options.push(option::URI_QUERY, b"href=/ace-group/yard");
    socket.send_to(&request.encode(), kdc).unwrap();
    let mut answer = [0; 2_048];
    let length = socket.recv(&mut answer).unwrap();
    String::from_utf8(Message::decode(&answer[..length]).unwrap().payload).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_command_is_said_with_the_line_and_changes_nothing() {
    let house = House::new().await;
    let file = house.path("yard.toml").display().to_string();
    for (text, line, words) in [
        (yard("00", ""), 6, "must be 32 bytes"),
        (yard(SEED, "colour = \"red\"\n"), 7, "is not known here"),
        (yard(SEED, "").replace("as1", "as9"), 3, "no issuer \"as9\""),
        (yard(SEED, "").replace("[\"as1\"]", "[]"), 3, "nobody could join"),
        (yard(SEED, "").replace("coap_group_oscore_app", "dtls"), 2, "there is no profile"),
        (yard(SEED, "").replace("yard", "lamps"), 1, "group \"lamps\" is there"),
        (yard(SEED, "").replace("issuers = [\"as1\"]", ""), 1, "missing field `issuers`"),
        ("name = \n".into(), 1, ""),
    ] {
        std::fs::write(house.path("yard.toml"), &text).unwrap();
        let complaint = house.refuses(&["create", &file]);
        assert!(complaint.contains(&format!("yard.toml: line {line}: ")) && complaint.contains(words), "{complaint}");
        assert!(!complaint.contains(SEED), "{complaint}");
    }
    for (words, complaint) in [
        (&["group", "nowhere"][..], "there is no group \"nowhere\""),
        (&["members", "lamps", "--after", "x"], "\"x\" names no place in the list"),
        (&["evict", "lamps", "0123456789abcdef"], "group \"lamps\" has no member \"0123456789abcdef\""),
        (&["lift", "lamps", "0123456789abcdef"], "nobody named \"0123456789abcdef\" was put out"),
        (&["revoke", "zz"], "no hash of a token"),
        (&["delete", "nowhere", "--yes"], "there is no group \"nowhere\""),
    ] {
        let refused = house.refuses(words);
        assert!(refused.contains(complaint), "{words:?}: {refused}");
    }
    std::fs::write(house.path("revoked"), format!("{}\nxyz\n", "00".repeat(33))).unwrap();
    let refused = house.refuses(&["revoke", "--file", &house.path("revoked").display().to_string()]);
    assert!(refused.contains("revoked: line 2: "), "{refused}");
    assert!(house.says(&["groups"]).lines().count() == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kdc_that_does_not_run_or_has_no_place_for_commands_is_told_nothing() {
    let mut house = House::new().await;
    house.kdc.kill().unwrap();
    house.kdc.wait().unwrap();
    assert!(house.refuses(&["groups"]).contains("no KDC runs that takes commands here"));
    let mut command = Command::new(KDC);
    let output = command.arg("--config").arg(house.path("kdc.toml")).arg("groups").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("commands need a place"));
    // One that was left behind by a kill is in nobody's way.
    let (kdc, address) = start(&house.folder);
    (house.kdc, house.address) = (kdc, address);
    assert!(house.says(&["groups"]).contains("lamps"));
    // A place that a mistake has named is no socket, and stays as it is.
    let text = std::fs::read_to_string(house.path("kdc.toml")).unwrap();
    std::fs::write(house.path("kdc.toml"), format!("control = \"precious\"\n{text}")).unwrap();
    std::fs::write(house.path("precious"), "mine").unwrap();
    house.kdc.kill().unwrap();
    house.kdc.wait().unwrap();
    (house.kdc, house.address) = start(&house.folder);
    assert!(house.refuses(&["groups"]).contains("precious"));
    assert_eq!(std::fs::read_to_string(house.path("precious")).unwrap(), "mine");
    std::fs::write(house.path("kdc.toml"), text).unwrap();
    house.kdc.kill().unwrap();
    house.kdc.wait().unwrap();
    (house.kdc, house.address) = start(&house.folder);
    assert!(house.says(&["groups"]).contains("lamps"));
    // Whoever comes through it is the owner of the socket.
    let mode = std::fs::metadata(house.path("state/control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_at_once_each_get_their_answer() {
    let house = House::new().await;
    let lamp = house.member(LAMP, "lamps");
    join(&lamp).await.unwrap();
    let node = house.json(&["members", "lamps"])["entries"][0]["node"].as_str().unwrap().to_owned();
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let evict = || scope.spawn(|| house.run(&["evict", "lamps", &node]).status.success());
        let threads: Vec<_> = (0..8).map(|_| evict()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.into_iter().filter(|done| *done).count(), 1, "a member goes once");
}

/// The KDC's command line as another user; nothing where this process may not become one, or that one may not run it.
fn as_another(words: &[&str]) -> Option<Output> {
    let another = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
    };
    let may = another().arg("test").arg("-x").arg(KDC).status();
    may.is_ok_and(|status| status.success()).then(|| another().arg(KDC).args(words).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_not_obeyed() {
    use std::fs::{Permissions, set_permissions};
    let house = House::new().await;
    let storage = format!("disk:{}", house.path("state").display());
    let config = house.path("kdc.toml").display().to_string();
    let open = |path: PathBuf, mode: u32| set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Sample keys may be read by everybody.
    open(house.folder.path().into(), 0o755);
    open(house.path("state"), 0o755);
    let words = ["--config", &config, "--storage", &storage, "delete", "lamps", "--yes"];
    let Some(refused) = as_another(&words) else { return };
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && complaint.contains("Permission denied"), "{complaint}");
    // Nor where the socket is open to all by mistake.
    open(house.path("state/control"), 0o777);
    let refused = as_another(&words).unwrap();
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && complaint.contains("takes no commands of this user"), "{complaint}");
    assert!(house.says(&["groups"]).contains("lamps"));
}
