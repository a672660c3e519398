//! A MariaDB server, and mariadb-slap on it.
//!
//! In: a containerd, a network namespace, options of the server. Out: a server with the database of
//! tests/fixtures/webapp/schema.sql on 127.0.0.1:3306, user and password `app`. Never: a client in the server's container.
//!
//! The server keeps Debian's defaults: its file I/O goes through `io_uring` where the kernel offers it (its log then says
//! `Using io_uring`; [`Mariadb::uses_io_uring`]), and is then not among its calls, save as `io_uring_enter`. With the
//! option `--innodb-use-native-aio=0` it reads and writes with calls of their own.

use super::{Load, wait_for_log};
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf, time::Duration};

const SCHEMA: &str = include_str!("../../fixtures/webapp/schema.sql");

/// A running server.
#[derive(Debug)]
pub struct Mariadb {
    /// Its container.
    pub container: Container,
    containerd: Containerd,
    network: PathBuf,
}

/// A load: rounds of mariadb-slap with its own statements and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slap {
    /// Clients at once.
    pub clients: u32,
    /// Statements of each in a round.
    pub queries: u32,
    /// Between rounds, milliseconds.
    pub pause_ms: u32,
}

impl Mariadb {
    /// Starts one as container `id`, and waits until it takes connections.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        Self::start_with(containerd, network, id, &[])
    }

    /// Starts one with more options of the server's.
    pub fn start_with(containerd: &Containerd, network: &Netns, id: &str, options: &[&str]) -> Result<Self> {
        let image = images::mariadb()?;
        import_once(containerd, &image)?;
        let schema = containerd.scratch().path().join("schema.sql");
        fs::write(&schema, SCHEMA).with_context(|| format!("writing {}", schema.display()))?;
        // A container may open 1,024 files; the server keeps 424 of them for tables. Clients come at
        // once: one for whom the queue has no room may believe to be connected, and wait for ever.
        let mut command = vec!["mariadbd", "--user=mysql", "--bind-address=127.0.0.1", "--skip-name-resolve"];
        command.extend(["--socket=/tmp/mariadb.sock", "--max-connections=590", "--back-log=1000", "--init-file=/schema.sql"]);
        command.extend(options);
        let run = Run::new(id, &image, &command).netns(&network.path()).mount(&schema, "/schema.sql");
        let container = containerd.run(&run)?;
        wait_for_log(&container, "ready for connections", Duration::from_mins(1))?;
        Ok(Self { container, containerd: containerd.clone(), network: network.path() })
    }

    /// Its file I/O goes through `io_uring`, as its log says.
    pub fn uses_io_uring(&self) -> bool {
        self.container.log().contains("Using io_uring")
    }

    /// What it answers to `sql`, without names of columns; asked from container `id`, which is gone then.
    pub fn query(&self, id: &str, sql: &str) -> Result<String> {
        let command = ["mariadb", "--host=127.0.0.1", "--user=app", "--password=app", "--skip-column-names", "--execute", sql];
        self.containerd.run_to_end(&Run::new(id, &images::mariadb()?, &command).netns(&self.network))
    }

    /// Starts rounds of `slap` from container `id`; each writes `round` to the load's log when it is over.
    pub fn slap(&self, id: &str, slap: &Slap) -> Result<Load> {
        let script = script(slap);
        let run = Run::new(id, &images::mariadb()?, &["bash", "-c", &script]).netns(&self.network);
        Ok(Load::new(self.containerd.run(&run)?))
    }
}

/// Statements as mariadb-slap makes them itself: a round creates its table, fills it, asks and changes by key, and drops it.
fn script(slap: &Slap) -> String {
    let Slap { clients, queries, pause_ms } = slap;
    let pause = f64::from(*pause_ms) / 1000.0;
    let total = u64::from(*clients) * u64::from(*queries);
    format!(
        "trap 'over=1' TERM
         slap() {{
             mariadb-slap --host=127.0.0.1 --user=app --password=app --silent --create-schema=slap --auto-generate-sql \\
                 --auto-generate-sql-add-autoincrement --auto-generate-sql-load-type=$1 --concurrency={clients} \\
                 --number-of-queries={total}
         }}
         while [ -z \"$over\" ]; do
             for type in mixed; do slap $type || exit 1; done
             echo round; sleep {pause}
         done"
    )
}

/// Imports `image` unless it is there: it is large.
pub(super) fn import_once(containerd: &Containerd, image: &images::Archive) -> Result<()> {
    let names = containerd.ctr(&["image", "list", "--quiet"])?;
    if names.lines().any(|name| name == image.reference) {
        return Ok(());
    }
    containerd.import(image)
}
