//! A small web application on the MariaDB, its visitors, and sqlmap.
//!
//! In: a containerd and the network namespace that a [`super::Mariadb`] listens in. Out: a shop on 127.0.0.1:8080
//! (tests/fixtures/webapp/app.py, which says what its two weaknesses are), and when which client asked it for what.
//! Never: reached from outside the namespace.

use super::{Load, mariadb::import_once, wait_for_log};
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf, time::Duration};

const APP: &str = include_str!("../../fixtures/webapp/app.py");
const VISITORS: &str = include_str!("../../fixtures/webapp/visitors.py");

/// A running application.
#[derive(Debug)]
pub struct WebApp {
    /// Its container.
    pub container: Container,
    containerd: Containerd,
    network: PathBuf,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it came: RFC 3339, UTC, microseconds; earlier sorts first.
    pub from: String,
    /// When it was answered.
    pub to: String,
    /// HTTP status.
    pub status: u64,
    /// The client's name for itself: `visitor`, `sqlmap/1.7.2#stable (https://sqlmap.org)`.
    pub client: String,
    /// Without the query.
    pub path: String,
}

impl WebApp {
    /// Where it is, inside the namespace; the parameter `id` is injectable.
    pub const URL: &str = "http://127.0.0.1:8080/item?id=1";

    /// Starts one as container `id`, and waits until it takes connections.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        let image = images::webapp()?;
        import_once(containerd, &image)?;
        let dir = containerd.scratch().path().join("webapp");
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        for (name, text) in [("app.py", APP), ("visitors.py", VISITORS)] {
            fs::write(dir.join(name), text).with_context(|| format!("writing {name}"))?;
        }
        let run = Run::new(id, &image, &["python3", "/app/app.py"]).netns(&network.path()).mount(&dir, "/app");
        let container = containerd.run(&run)?;
        wait_for_log(&container, "serving", Duration::from_secs(30))?;
        Ok(Self { container, containerd: containerd.clone(), network: network.path() })
    }

    /// Starts `visitors` honest visitors in container `id`, who pause for about `pause_ms` milliseconds between pages; they
    /// ask for the same pages in the same order when `seed` is the same.
    pub fn visit(&self, id: &str, visitors: u32, pause_ms: u32, seed: u32) -> Result<Load> {
        let dir = self.containerd.scratch().path().join("webapp");
        let [visitors, pause, seed] = [visitors, pause_ms, seed].map(|n| n.to_string());
        let command = ["python3", "/app/visitors.py", &visitors, &pause, &seed];
        let run = Run::new(id, &images::webapp()?, &command).netns(&self.network).mount(&dir, "/app");
        Ok(Load::new(self.containerd.run(&run)?))
    }

    /// Starts `sqlmap ARGS…` on the injectable page from container `id`, for at most `limit`; it goes on by itself.
    pub fn sqlmap(&self, id: &str, limit: Duration, args: &[&str]) -> Result<Container> {
        let image = images::sqlmap()?;
        import_once(&self.containerd, &image)?;
        let limit = limit.as_secs().to_string();
        let mut command = vec!["timeout", &limit, "sqlmap", "--url", Self::URL, "-p", "id", "--batch", "--flush-session"];
        command.extend(["--output-dir=/tmp/sqlmap", "--disable-coloring"]);
        command.extend(args);
        self.containerd.run(&Run::new(id, &image, &command).netns(&self.network).env("HOME", "/tmp"))
    }

    /// What it has answered so far, in the order of answers.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let log = self.container.log();
        // The last line may still be on its way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter(|line| line.starts_with('{')).map(parse).collect()
    }

    /// When the first request of clients that call themselves `client…` came, and when the last one was answered; the first
    /// `skip` answers are passed over.
    pub fn span(&self, client: &str, skip: usize) -> Result<(String, String)> {
        let all = self.requests()?;
        let theirs: Vec<_> = all.iter().skip(skip).filter(|r| r.client.starts_with(client)).collect();
        let from = theirs.iter().map(|r| &r.from).min();
        let to = theirs.iter().map(|r| &r.to).max();
        let span = from.zip(to).map(|(from, to)| (from.clone(), to.clone()));
        span.with_context(|| format!("no request of {client:?} among the last {}", all.len().saturating_sub(skip)))
    }
}

fn parse(line: &str) -> Result<Request> {
    let value: serde_json::Value = serde_json::from_str(line).with_context(|| format!("a line of the log: {line}"))?;
    let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {line}"));
    let status = value["status"].as_u64().with_context(|| format!("no status in {line}"))?;
    Ok(Request { from: text("from")?, to: text("to")?, status, client: text("client")?, path: text("path")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_a_request() {
        let line = r#"{"from": "a", "to": "b", "status": 200, "client": "visitor", "path": "/item"}"#;
        let request = parse(line).expect("a request");
        assert_eq!((request.from.as_str(), request.to.as_str(), request.status), ("a", "b", 200));
        assert_eq!((request.client.as_str(), request.path.as_str()), ("visitor", "/item"));
        for wrong in ["{}", "{", r#"{"from": "a", "to": "b", "status": "200", "client": "c", "path": "/"}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
