//! A profile never judges with a model of another vocabulary, however it comes in.

use crate::agent::Agent;
use crate::load::WORKLOAD;
use crate::scorer::{PATIENCE, Scorer, profile_dir, profiles};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use surprisal_proto::token::Token;
use surprisal_proto::v1::{self, profiles_client::ProfilesClient};
use surprisal_scorer::detect::vocab::Vocabulary;
use surprisal_scorer::profile::archive::{METADATA, Profile, WEIGHTS};
use surprisal_scorer::run::loader;

/// The same profile, of as many tokens, one of them another; weights, sizes and checksums are in order.
fn altered(dir: &Path) -> Profile {
    let profile = Profile::read(dir).expect("a profile");
    let mut tokens = profile.vocabulary.tokens().to_vec();
    let last = tokens.last_mut().expect("tokens");
    *last = Token(last.0 + 1);
    let vocabulary = Vocabulary::new(tokens);
    assert_eq!(vocabulary.classes(), profile.vocabulary.classes());
    Profile::new(profile.metadata, vocabulary, profile.novelty, profile.weights)
}

const SAYS: &str = "belong to another vocabulary";

#[test]
fn the_models_thread_refuses_it() {
    let dir = profiles();
    let at = profile_dir(dir.path());
    let whole = Profile::read(&at).expect("a profile");
    assert!(loader()(&Arc::new(whole)).is_ok());
    let error = loader()(&Arc::new(altered(&at))).err().expect("refused").to_string();
    assert!(error.contains(SAYS), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_or_laid_down_while_it_runs_is_refused_and_the_older_one_stays() {
    let dir = profiles();
    let at = profile_dir(dir.path());
    let bad = altered(&at);
    let metadata = bad.metadata_json().expect("JSON");
    let mut scorer = Scorer::start(dir.path(), &[]);
    let version = scorer.json(&["profile", "show", WORKLOAD])["version"].clone();
    assert_ne!(version.as_str(), Some(bad.metadata.version.as_str()));

    let mut client = ProfilesClient::connect(scorer.url.clone()).await.expect("connects");
    let archive = v1::ProfileArchive { metadata: metadata.clone(), weights: bad.weights.clone() };
    let import = v1::ImportRequest { archive: Some(archive), workload: String::new() };
    let refused = client.import(import).await.expect_err("refused");
    assert!(refused.code() == tonic::Code::InvalidArgument && refused.message().contains(SAYS), "{refused:?}");

    std::fs::write(at.join(WEIGHTS), &bad.weights).expect("writes");
    std::fs::write(at.join(METADATA), metadata).expect("writes");
    let line = scorer.logged("profile refused");
    assert!(line.contains(SAYS) && line.contains("\"kept_older\":true"), "{line}");
    assert_eq!(scorer.json(&["profile", "show", WORKLOAD])["version"], version);
    let mut agent = Agent::connect(&scorer.url, "one").await;
    agent.serves("c1", 7, 2_000).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let score = scorer.json(&["scores", "get", "--id", "c1"]);
        if score["windows"].as_u64() > Some(20) {
            assert_eq!((&score["profile_version"], score["verdict"].as_str()), (&version, Some("normal")), "{score:#}");
            break;
        }
        assert!(Instant::now() < deadline, "never scored: {score:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
