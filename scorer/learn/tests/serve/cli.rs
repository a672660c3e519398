//! Bad input: one clear line, a documented exit code.

use crate::load::record;
use crate::scorer::{Scorer, profiles, run, text};

/// Runs; says the exit code and the last line of standard error.
fn check(args: &[&str], code: i32, says: &str) {
    let out = run(args);
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {error}");
    let last = error.lines().last().unwrap_or_default();
    assert!(last.contains(says), "{args:?}: {error}");
    assert!(code == 2 || error.lines().count() == 1, "{args:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
}

#[test]
fn bad_input_gets_one_line_and_a_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let (whole, cut, attack, short, garbage) = (path("whole"), path("cut"), path("attack"), path("short"), path("garbage"));
    record(&whole, None, 500);
    record(&attack, Some("attack"), 500);
    record(&short, None, 10);
    let bytes = std::fs::read(&whole).expect("reads");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("writes");
    std::fs::write(&garbage, [0xff; 100]).expect("writes");
    let config = path("config.toml");
    std::fs::write(&config, "threshold = 'high'").expect("writes");
    let profiles = path("profiles");
    let train = |recording| ["train", "--profiles", text(&profiles), recording];
    check(&train(text(&cut)), 65, "truncated");
    check(&train(text(&garbage)), 65, "not a recording");
    check(&train(text(&attack)), 65, "labelled \"attack\"");
    check(&train(text(&short)), 65, "windows are too few");
    check(&train("/nonexistent"), 65, "No such file");
    check(&["train", "--profiles", text(&profiles), "--workload", "x/y/z", text(&whole)], 65, "they hold: shop/cache/redis");
    check(&["serve", "--profiles", text(&profiles), "--config", text(&config)], 64, "config.toml");
    check(&["serve"], 64, "no directory of profiles");
    check(&["serve", "--no-such-flag"], 2, "--help");
    check(&["scores", "list", "--scorer", "http://127.0.0.1:1"], 69, "cannot be reached");
    check(&["scores", "list", "--scorer", "not a url"], 64, "no URL");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("bound").to_string();
    let dir = profiles();
    check(&["serve", "--profiles", text(dir.path()), "--listen", &address], 1, &format!("listening on {address}"));
}

#[test]
fn answers_are_tables_or_json() {
    let dir = profiles();
    let scorer = Scorer::start(dir.path(), &[]);
    let out = scorer.ask(&["profile", "list"]);
    let table = String::from_utf8(out.stdout).expect("UTF-8");
    let words: Vec<Vec<_>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["WORKLOAD", "VERSION", "TRAINED", "CALLS", "TOKENS", "MEAN", "THRESHOLD", "SOURCE"]);
    assert_eq!((words[1][0], words[1][7]), ("shop/cache/redis", "quantiles"));
    let json = scorer.json(&["profile", "show", "shop/cache/redis"]);
    assert_eq!((json["image"].as_str(), json["extrapolated"].as_bool()), (Some("redis:7"), Some(true)));
    let table = String::from_utf8(scorer.ask(&["scores", "list"]).stdout).expect("UTF-8");
    assert!(table.starts_with("NAMESPACE"), "{table}");
    for (args, says) in [
        (vec!["profile", "show", "x"], "no profile for workload \"x\""),
        (vec!["profile", "threshold", "x", "--set", "2"], "no profile for workload \"x\""),
        (vec!["scores", "get"], "the filter is empty"),
        (vec!["scores", "get", "--pod", "x"], "no container matches"),
    ] {
        let out = scorer.ask(&args);
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && error.contains(says) && error.lines().count() == 1, "{args:?}: {error}");
    }
}
