//! The servers that experiments attack: what the harness promises of them.

use anyhow::{Result, ensure};
use std::time::Duration;
use surprisal_e2e::{
    Containerd, Netns,
    servers::{Mariadb, Slap, WebApp},
};

const SOON: Duration = Duration::from_mins(1);

/// MariaDB answers load, visitors get their pages, and the application gives the users' passwords to whoever asks in SQL.
#[test]
fn mariadb_under_load_is_reached_through_the_web_application() -> Result<()> {
    let containerd = Containerd::start()?;
    let network = Netns::new(containerd.scratch())?;
    let database = Mariadb::start(&containerd, &network, "mariadb")?;
    let shop = WebApp::start(&containerd, &network, "webapp")?;
    let slap = database.slap("slap", &Slap { clients: 20, queries: 10, pause_ms: 100 })?;
    let visitors = shop.visit("visitors", 2, 20, 1)?;
    slap.wait_for("round", 2, SOON)?;

    let injection = "http://127.0.0.1:8080/item?id=0%20UNION%20SELECT%20id,login,password%20FROM%20users";
    let page = network.command("busybox").args(["wget", "-q", "-O", "-", injection]).output()?;
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    ensure!(page.contains("user40"), "the injection gave {page}");

    slap.stop()?;
    let visited = visitors.stop()?;
    let counts: Vec<u64> = visited.lines().last().unwrap_or_default().split(' ').filter_map(|w| w.parse().ok()).collect();
    ensure!(matches!(counts[..], [pages, good] if pages > 0 && pages == good), "visitors got other pages: {visited}");
    ensure!(database.query("query", "SELECT COUNT(*) FROM shop.users")?.trim() == "40", "the users are not there");
    let ours = shop.requests()?.into_iter().filter(|r| r.client == "visitor").count() as u64;
    ensure!(ours == counts[0], "{ours} requests in the log, {} made", counts[0]);
    Ok(())
}
