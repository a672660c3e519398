//! A PostgreSQL server, under pgbench and an application that connects for each question.
//!
//! In: a containerd and a network namespace. Out: a server on 127.0.0.1:5432 that trusts whoever comes as its superuser `postgres` (its
//! weakness), and its load. Never: reached from outside the namespace; a client in the server's container.

use super::{Load, mariadb::import_once, wait_for_log};
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::Result;
use std::{path::PathBuf, time::Duration};

/// As Debian's user; checkpoints and vacuums, which otherwise come every few minutes, come while it is learned.
const START: &str = "exec setpriv --reuid=102 --regid=102 --clear-groups /usr/lib/postgresql/15/bin/postgres \
    -D /var/lib/postgresql/data -k /tmp -c listen_addresses=127.0.0.1 -c shared_buffers=16MB -c dynamic_shared_memory_type=mmap \
    -c checkpoint_timeout=30s -c autovacuum_naptime=10s -c max_wal_size=64MB";

/// Twenty transactions a second on two connections, and half as many questions on a connection each.
const LOAD: &str = "export PGHOST=127.0.0.1 PGUSER=postgres; P=/usr/lib/postgresql/15/bin
    $P/pgbench --initialize --scale=1 --quiet postgres >/dev/null 2>&1 || exit 1
    echo filled
    while :; do $P/pgbench --client=2 --time=5 --rate=20 --no-vacuum postgres >/dev/null 2>&1; sleep 0.5; done &
    while :; do
        $P/psql --quiet --tuples-only --command 'SELECT sum(abalance) FROM pgbench_accounts WHERE bid = 1' postgres >/dev/null
        $P/psql --quiet --tuples-only --command 'SELECT count(*) FROM pgbench_history' postgres >/dev/null
        sleep 0.4
    done";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// Its container.
    pub container: Container,
    containerd: Containerd,
    network: PathBuf,
}

impl Postgres {
    /// Starts one as container `id`, and waits until it takes connections.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        let image = images::postgres()?;
        import_once(containerd, &image)?;
        let container = containerd.run(&Run::new(id, &image, &["bash", "-c", START]).netns(&network.path()))?;
        wait_for_log(&container, "ready to accept connections", Duration::from_mins(1))?;
        Ok(Self { container, containerd: containerd.clone(), network: network.path() })
    }

    /// Starts its load in container `id`.
    pub fn load(&self, id: &str) -> Result<Load> {
        let container = self.containerd.run(&Run::new(id, &images::postgres()?, &["bash", "-c", LOAD]).netns(&self.network))?;
        wait_for_log(&container, "filled", Duration::from_mins(1))?;
        Ok(Load::new(container))
    }

    /// What it answers to `sql`, asked from container `id`, which is gone then.
    pub fn query(&self, id: &str, sql: &str) -> Result<String> {
        let command = [
            "/usr/lib/postgresql/15/bin/psql",
            "--host=127.0.0.1",
            "--username=postgres",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--command",
            sql,
            "postgres",
        ];
        self.containerd.run_to_end(&Run::new(id, &images::postgres()?, &command).netns(&self.network))
    }
}
