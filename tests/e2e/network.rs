//! What the agent promises of a container's network: bytes, packets, connections.

use anyhow::{Context as _, Result, ensure};
use std::time::Duration;
use surprisal_e2e::{Containerd, Netns, Run, Scorer, agent, images, scorer, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// Two containers in linked namespaces: one serves, one fetches, and fails to fetch where nobody listens.
#[test]
fn connections_and_bytes_are_counted_for_both_ends() -> Result<()> {
    let containerd = Containerd::start()?;
    let busybox = images::busybox()?;
    containerd.import(&busybox)?;
    let profiles = containerd.scratch().path().join("profiles");
    let scorer = Scorer::serve(containerd.scratch(), &profiles, &[])?;
    let (select, url) = (format!("namespace={}", containerd.namespace()), scorer.url());
    let mut agent = agent::start(containerd.scratch(), &["run", "--scorer", &url, "--select", &select])?;
    agent.wait_for_log("capturing", SOON)?;

    let (a, b) = Netns::pair(containerd.scratch())?;
    let serve = "dd if=/dev/zero of=/var/www/file bs=1000 count=1000 2>/dev/null; echo up; exec httpd -f -p 8080 -h /var/www";
    let server = containerd.run(&Run::new("server", &busybox, &["sh", "-c", serve]).netns(&a.path()))?;
    server.wait_for_log("up", SOON);
    // Five files, two refused connections; then it stays, so that its counters do.
    let fetch = "until wget -q -O /dev/null http://10.77.0.1:8080/file; do sleep 0.1; done; \
                 for i in 1 2 3 4; do wget -q -O /dev/null http://10.77.0.1:8080/file; done; \
                 for i in 1 2; do wget -q -O /dev/null http://10.77.0.1:9/; done; echo done; sleep 60";
    let client = containerd.run(&Run::new("client", &busybox, &["sh", "-c", fetch]).netns(&b.path()))?;
    client.wait_for_log("done", SOON);

    let network = |id: &str| -> Option<serde_json::Value> {
        let out = scorer::run(&["scores", "get", "--id", id, "--scorer", &url, "-o", "json"]).ok()?;
        let score: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
        score.get("network").filter(|n| n.is_object()).cloned()
    };
    let of_client = wait_for("the client's counters", SOON, || network("client").filter(|n| n["connects_failed"] == 2));
    let of_server = wait_for("the server's counters", SOON, || network("server").filter(|n| n["accepts"] == 5));
    ensure!(of_client["connects_attempted"] == 7 && of_client["connects_established"] == 5, "{of_client:#}");
    ensure!(of_client["accepts"] == 0 && of_client["distinct_remotes"] == 1, "{of_client:#}");
    ensure!(of_server["connects_attempted"] == 0, "{of_server:#}");
    let bytes = |n: &serde_json::Value, key: &str| n[key].as_u64().with_context(|| format!("{key} in {n:#}"));
    for (network, key) in [(&of_client, "rx_bytes"), (&of_server, "tx_bytes")] {
        let n = bytes(network, key)?;
        ensure!((5_000_000..7_000_000).contains(&n), "{n} {key} for five files of a megabyte: {network:#}");
    }
    ensure!(bytes(&of_client, "rx_packets")? > 0 && bytes(&of_server, "rx_packets")? > 0, "{of_client:#} {of_server:#}");
    drop((server, client));
    Ok(())
}
