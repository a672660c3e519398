//! The services as others find them: reflection, health, watching, and what is sent by mistake or malice.

use crate::agent::{Agent, birth, calls, hello, open};
use crate::load::{WORKLOAD, serve};
use crate::scorer::{PATIENCE, Scorer, profiles};
use std::io::{Read as _, Write as _};
use surprisal_proto::v1::{self, scores_client::ScoresClient, stream_request::Message as Say};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

async fn channel(scorer: &Scorer) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(scorer.url.clone()).expect("a URL").connect().await.expect("connects")
}

async fn reflect(scorer: &Scorer, ask: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel(scorer).await);
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.expect("answers").into_inner();
    answers.message().await.expect("an answer").and_then(|a| a.message_response).expect("something")
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_tells_all_that_a_stranger_needs_to_ask_for_scores() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let MessageResponse::ListServicesResponse(list) = reflect(&scorer, MessageRequest::ListServices(String::new())).await else {
        panic!("no list");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for name in ["surprisal.v1.Ingest", "surprisal.v1.Scores", "surprisal.v1.Profiles", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("surprisal.v1.Scores".into());
    let MessageResponse::FileDescriptorResponse(files) = reflect(&scorer, symbol).await else { panic!("no file") };
    let file: prost_types::FileDescriptorProto =
        prost::Message::decode(files.file_descriptor_proto[0].as_slice()).expect("a descriptor");
    let service = file.service.iter().find(|s| s.name() == "Scores").expect("the service");
    let method = service.method.iter().find(|m| m.name() == "List").expect("the method");
    assert_eq!((method.input_type(), method.output_type()), (".surprisal.v1.ListRequest", ".surprisal.v1.ListResponse"));
    let list = ScoresClient::connect(scorer.url.clone()).await.expect("connects").list(v1::ListRequest::default()).await;
    assert_eq!(list.expect("answers").into_inner().scores.len(), 0);

    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&scorer).await);
    for service in ["", "surprisal.v1.Ingest", "surprisal.v1.Scores", "surprisal.v1.Profiles"] {
        let answer =
            health.check(tonic_health::pb::HealthCheckRequest { service: service.into() }).await.expect("known").into_inner();
        assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_every_container_once_and_a_filter_leaves_out_the_rest() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    let births = (0..25).map(|n| {
        let mut b = birth(&format!("{n:04}"));
        if let Some(c) = &mut b.container {
            c.pod = format!("pod-{}", n % 3);
        }
        b
    });
    agent.send(v1::Batch { births: births.collect(), ..v1::Batch::default() }).await;
    let mut client = ScoresClient::connect(scorer.url.clone()).await.expect("connects");
    let mut wait = tokio::time::interval(std::time::Duration::from_millis(50));
    let mut page = async |token: String, pod: &str| {
        let filter = Some(v1::Filter { pod: pod.into(), ..v1::Filter::default() });
        client.list(v1::ListRequest { filter, page_size: 10, page_token: token }).await.map(tonic::Response::into_inner)
    };
    // The batch is acknowledged when it is queued; it is seen a moment later.
    while page(String::new(), "").await.expect("a page").next_page_token.is_empty() {
        wait.tick().await;
    }
    let (mut ids, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let p = page(token, "").await.expect("a page");
        ids.extend(p.scores.into_iter().filter_map(|s| s.container).map(|c| (c.pod, c.id)));
        token = p.next_page_token;
        pages += 1;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((ids.len(), pages), (25, 3));
    assert!(ids.is_sorted() && ids.windows(2).all(|w| w[0] != w[1]), "{ids:?}");
    assert_eq!(page(String::new(), "pod-1").await.expect("a page").scores.len(), 8);
    assert_eq!(page("nonsense".into(), "").await.expect_err("refused").code(), Code::InvalidArgument);
    let get = |filter: v1::Filter| v1::GetRequest { filter: Some(filter) };
    for (filter, code) in [
        (v1::Filter::default(), Code::InvalidArgument),
        (v1::Filter { pod: "pod-1".into(), ..v1::Filter::default() }, Code::InvalidArgument),
        (v1::Filter { pod: "nobody".into(), ..v1::Filter::default() }, Code::NotFound),
    ] {
        assert_eq!(client.get(get(filter)).await.expect_err("refused").code(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_shows_what_is_and_what_changes() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    agent.serves("c1", 7, 2_000).await;
    let mut client = ScoresClient::connect(scorer.url.clone()).await.expect("connects");
    let filter = v1::Filter { workload: WORKLOAD.into(), ..v1::Filter::default() };
    let mut changes = client.watch(v1::WatchRequest { filter: Some(filter) }).await.expect("watches").into_inner();
    let mut next_verdict = async |wanted: v1::Verdict| {
        let seen = async {
            while let Some(change) = changes.next().await {
                let score = change.expect("a change").score.expect("a score");
                if score.verdict() == wanted {
                    return score;
                }
            }
            panic!("the stream ended");
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("in time")
    };
    next_verdict(v1::Verdict::Normal).await;
    agent.attacks("c1").await;
    assert_eq!(next_verdict(v1::Verdict::Anomalous).await.container.expect("named").id, "c1");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_no_harm() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff"]
    {
        let mut socket = std::net::TcpStream::connect(&scorer.address).expect("connects");
        socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("sets");
        let _ = socket.write_all(bytes);
        let _ = socket.read(&mut [0; 1024]);
    }
    let refused = async |first: Option<Say>| {
        let (_say, mut hear) = open(&scorer.url, first).await.expect("a stream");
        hear.message().await.expect_err("refused").code()
    };
    assert_eq!(refused(None).await, Code::InvalidArgument);
    assert_eq!(refused(Some(Say::Batch(v1::Batch::default()))).await, Code::InvalidArgument);
    assert_eq!(refused(Some(Say::Hello(v1::Hello { token_layout: 99, ..hello("x") }))).await, Code::FailedPrecondition);

    // Malformed parts, containers nobody named, numbers at their ends: what is good is taken.
    let mut agent = Agent::connect(&scorer.url, "hostile").await;
    let mut all = vec![birth("c1"), birth(""), birth(&"x".repeat(10_000)), v1::Birth { container: None }];
    all.extend((0..20_000).map(|n| birth(&format!("flood-{n}"))));
    let odd = v1::Calls { tokens: vec![1, 2, 3], ..calls("c1", 1, "p", 0, &[]) };
    let ends = v1::Calls { gap: u64::MAX, started_ns: u64::MAX, ..calls("c1", 1, "p", u64::MAX, &serve(1, 300)) };
    let batch = v1::Batch {
        births: all,
        calls: vec![odd, ends.clone(), calls("nobody", 1, "p", 0, &serve(1, 100)), ends],
        network: vec![v1::Network { container_id: "c1".into(), rx_bytes: Some(u64::MAX), ..v1::Network::default() }],
        accounts: vec![v1::Account {
            container_id: "c1".into(),
            issued: u64::MAX,
            lost_ring: u64::MAX,
            ..v1::Account::default()
        }],
        deaths: vec![v1::Death { container_id: "never-born".into(), ended_at: None }],
        dropped_before: 5,
        ..v1::Batch::default()
    };
    agent.send(batch).await;
    agent.serves("c1", 9, 1_000).await;
    let listed = loop {
        let listed = scorer.json(&["scores", "list"]);
        if listed.as_array().is_some_and(|l| l.iter().any(|s| s["id"] == "c1" && s["calls"].as_u64() > Some(1_500))) {
            break listed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let listed = listed.as_array().expect("an array");
    assert!(listed.len() <= 4096, "a node's containers are bounded, not {}", listed.len());
    assert!(scorer.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_travel_and_nonsense_is_refused() {
    use surprisal_proto::v1::profiles_client::ProfilesClient;
    let (from, to) = (profiles(), tempfile::tempdir().expect("a directory"));
    let scorer = Scorer::start(from.path(), &[]);
    let mut client = ProfilesClient::connect(scorer.url.clone()).await.expect("connects");
    for threshold in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        for workload in ["", WORKLOAD] {
            let set = v1::SetThresholdRequest { workload: workload.into(), threshold: Some(threshold) };
            assert_eq!(client.set_threshold(set).await.expect_err("refused").code(), Code::InvalidArgument, "{threshold}");
        }
    }
    let export = v1::ExportRequest { workload: WORKLOAD.into() };
    let archive = client.export(export).await.expect("exports").into_inner().archive.expect("an archive");

    let other = Scorer::start(to.path(), &[]);
    let mut client = ProfilesClient::connect(other.url.clone()).await.expect("connects");
    let import = |archive: Option<v1::ProfileArchive>| v1::ImportRequest { archive, workload: "a/b/c".into() };
    let mut damaged = archive.clone();
    damaged.weights.truncate(100);
    for bad in [None, Some(damaged), Some(v1::ProfileArchive::default())] {
        assert_eq!(client.import(import(bad)).await.expect_err("refused").code(), Code::InvalidArgument);
    }
    let taken = client.import(import(Some(archive))).await.expect("imports").into_inner().profile.expect("a profile");
    let here = scorer.json(&["profile", "show", WORKLOAD]);
    assert_eq!((taken.workload.as_str(), Some(taken.version.as_str())), ("a/b/c", here["version"].as_str()));
    client.reset(v1::ResetRequest { workload: "a/b/c".into() }).await.expect("forgets");
    let again = client.reset(v1::ResetRequest { workload: "a/b/c".into() }).await.expect_err("gone");
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(std::fs::read_dir(to.path()).expect("lists").filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir())).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_balance() {
    let dir = profiles();
    let mut scorer = Scorer::start(dir.path(), &["--admin", "127.0.0.1:0"]);
    let line: serde_json::Value = serde_json::from_str(&scorer.logged("serving metrics")).expect("JSON");
    let address = line["fields"]["address"].as_str().expect("an address").to_owned();
    let mut agent = Agent::connect(&scorer.url, "one").await;
    agent.serves("c1", 7, 2_000).await;
    let get = |path: &str| {
        let mut socket = std::net::TcpStream::connect(&address).expect("connects");
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("writes");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("reads");
        answer
    };
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    // 2,052 calls are 33 windows, the last one of 4 calls after a second of silence.
    let text = loop {
        let text = get("/metrics");
        if value(&text, "surprisal_scorer_windows_scored_total") == 33 {
            break text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(value(&text, "surprisal_scorer_ingest_calls_total"), 2_052);
    assert_eq!(value(&text, "surprisal_scorer_windows_total"), 33);
    assert_eq!(value(&text, "surprisal_scorer_inference_waiting_windows"), 0);
    assert_eq!((value(&text, "surprisal_scorer_containers"), value(&text, "surprisal_scorer_ingest_streams")), (1, 1));
    assert!(get("/readyz").starts_with("HTTP/1.1 200") && get("/livez").ends_with("alive\n"));
}
