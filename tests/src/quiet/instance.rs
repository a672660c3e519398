//! One server with its clients, and what may be done to it.
//!
//! In: a kind, an id. Out: a server under load in a network namespace of its own; what a person or a cluster would do to it in a day.
//! Never: an attack.

use crate::{
    Container, Containerd, Netns,
    attacks::{SERVERS, attacker},
    images,
    servers::{Load, Mariadb, Nginx, Postgres, Redis, Shop, Slap, WebApp},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{fs, path::PathBuf, sync::Arc};

/// Kinds of server.
pub const KINDS: [&str; 8] = SERVERS;

/// A server and its clients.
#[derive(Debug)]
pub struct Instance {
    kind: &'static str,
    id: String,
    containerd: Containerd,
    network: Arc<Netns>,
    parts: Option<Parts>,
    frozen: bool,
    queries: u32,
}

#[derive(Debug)]
struct Parts {
    server: Server,
    load: Load,
    /// The web application's database.
    database: Option<Mariadb>,
}

#[derive(Debug)]
enum Server {
    Redis(Redis),
    Nginx(Nginx),
    Mariadb(Mariadb),
    WebApp(WebApp),
    Postgres(Postgres),
    Shop(Shop, Container),
}

impl Server {
    fn container(&self) -> &Container {
        match self {
            Self::Redis(s) => &s.container,
            Self::Nginx(s) => &s.container,
            Self::Mariadb(s) => &s.container,
            Self::WebApp(s) => &s.container,
            Self::Postgres(s) => &s.container,
            Self::Shop(_, container) => container,
        }
    }
}

/// What is done to a server once in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its clients go, and others come.
    Reconnect,
    /// Its container ends, and another takes its place.
    Restart,
    /// It reads its configuration again.
    Reload,
    /// Its log is put aside, and it begins another.
    Rotate,
    /// What it holds is copied, by its own means or by a command in its container.
    Backup,
    /// Somebody asks for what its clients never ask for: a monitor, a search engine.
    Others,
}

impl Event {
    /// All.
    pub const ALL: [Self; 6] = [Self::Reconnect, Self::Restart, Self::Reload, Self::Rotate, Self::Backup, Self::Others];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Rotate => "log rotation",
            Self::Backup => "backup",
            Self::Others => "other clients",
        }
    }

    /// `kind` has such a thing.
    pub fn is_for(self, kind: &str) -> bool {
        match self {
            Self::Reload => matches!(kind, "nginx" | "apache" | "postgres"),
            Self::Rotate => matches!(kind, "nginx" | "mariadb" | "postgres"),
            _ => true,
        }
    }
}

impl Instance {
    /// Starts server and clients as containers `id` and others whose names begin with it.
    pub fn start(kind: &'static str, id: &str, containerd: &Containerd) -> Result<Self> {
        let network = Arc::new(Netns::new(containerd.scratch())?);
        let parts = Parts::start(kind, id, containerd, &network)?;
        let (id, containerd) = (id.to_owned(), containerd.clone());
        Ok(Self { kind, id, containerd, network, parts: Some(parts), frozen: false, queries: 0 })
    }

    /// One of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its server's container.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its server's container now; after a restart it is another.
    pub fn server(&self) -> Result<Container> {
        Ok(self.parts()?.server.container().clone())
    }

    fn parts(&self) -> Result<&Parts> {
        self.parts.as_ref().with_context(|| format!("{} did not start again", self.id))
    }

    /// Freezes its clients, or lets them go on.
    pub fn freeze(&mut self, frozen: bool) -> Result<()> {
        if self.frozen != frozen {
            let load = &self.parts()?.load;
            if frozen {
                load.pause()?;
            } else {
                load.resume()?;
            }
            self.frozen = frozen;
        }
        Ok(())
    }

    /// Does it. Its clients are frozen or not as they were.
    pub fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Reconnect => {
                self.freeze(false)?;
                let Parts { server, load, database } = self.parts.take().context("no server")?;
                load.kill()?;
                let load = server.load(&self.id, &self.containerd, &self.network)?;
                self.parts = Some(Parts { server, load, database });
                Ok(())
            }
            Event::Restart => {
                self.freeze(false)?;
                let Parts { server, load, database } = self.parts.take().context("no server")?;
                load.kill()?;
                stop(server.container().clone())?;
                if let Some(database) = database {
                    stop(database.container)?;
                }
                self.parts = Some(Parts::start(self.kind, &self.id, &self.containerd, &self.network)?);
                Ok(())
            }
            Event::Reload => self.parts()?.server.container().signal(if self.kind == "apache" { "USR1" } else { "HUP" }),
            Event::Rotate => self.rotate(),
            Event::Backup => self.backup(),
            Event::Others => self.others(),
        }
    }

    fn rotate(&mut self) -> Result<()> {
        match &self.parts()?.server {
            Server::Nginx(nginx) => {
                let log = PathBuf::from(format!("/proc/{}/root/var/log/nginx/access.log", nginx.container.pid()));
                fs::rename(&log, log.with_extension("log.1")).with_context(|| format!("renaming {}", log.display()))?;
                nginx.container.signal("USR1")
            }
            Server::Mariadb(_) => self.sql("FLUSH LOGS"),
            _ => self.sql("SELECT pg_switch_wal()"),
        }
    }

    fn backup(&mut self) -> Result<()> {
        self.queries += 1;
        let id = format!("{}-backup-{}", self.id, self.queries);
        let (containerd, network) = (&self.containerd, self.network.path());
        let dump = |image: images::Archive, command: &[&str]| {
            containerd.run_to_end(&crate::Run::new(&id, &image, command).netns(&network)).map(drop)
        };
        match &self.parts()?.server {
            Server::Redis(_) => attacker::ask(&self.network, Redis::PORT, b"BGSAVE\r\nQUIT\r\n").map(drop),
            Server::Mariadb(_) => {
                let login = ["--host=127.0.0.1", "--user=app", "--password=app"];
                dump(
                    images::mariadb()?,
                    &[&["mariadb-dump"][..], &login, &["--all-databases", "--result-file=/tmp/dump"]].concat(),
                )
            }
            Server::Postgres(_) => {
                let dump_of = ["--host=127.0.0.1", "--username=postgres", "--file=/tmp/dump", "postgres"];
                dump(images::postgres()?, &[&["/usr/lib/postgresql/15/bin/pg_dump"][..], &dump_of].concat())
            }
            server => {
                let from = if matches!(server, Server::WebApp(_)) { "/app" } else { "/srv" };
                run(server.container(), &["cp", "-r", from, "/tmp/backup"])
            }
        }
    }

    fn others(&mut self) -> Result<()> {
        match &self.parts()?.server {
            Server::Redis(_) => {
                let questions = b"INFO\r\nCLIENT LIST\r\nCONFIG GET maxmemory\r\nSLOWLOG GET\r\nDBSIZE\r\nQUIT\r\n";
                attacker::ask(&self.network, Redis::PORT, questions).map(drop)
            }
            Server::Mariadb(_) => self.sql("SHOW GLOBAL STATUS; SHOW FULL PROCESSLIST; SELECT * FROM information_schema.tables"),
            Server::Postgres(_) => {
                self.sql("SELECT * FROM pg_stat_activity; SELECT * FROM pg_stat_user_tables; SELECT pgdatabase_size('postgres')")
            }
            _ => {
                let agent =
                    "User-Agent: Spider/2.1\r\nAccept-Language: de\r\nIf-Modified-Since: Mon, 02 Nov 2026 08:00:00 GMT\r\n";
                for (method, path) in
                    [("GET", "/robots.txt"), ("HEAD", "/"), ("GET", "/favicon.ico"), ("OPTIONS", "/"), ("GET", "/sitemap.xml")]
                {
                    attacker::http(&self.network, Nginx::PORT, method, path, agent, "")?;
                }
                Ok(())
            }
        }
    }

    fn sql(&mut self, sql: &str) -> Result<()> {
        self.queries += 1;
        let id = format!("{}-asks-{}", self.id, self.queries);
        match &self.parts()?.server {
            Server::Mariadb(database) => database.query(&id, sql).map(drop),
            Server::Postgres(database) => database.query(&id, sql).map(drop),
            _ => bail!("{} takes no SQL", self.id),
        }
    }
}

/// What a kubelet would run in a container of `kind` to know that it is well.
pub fn check(kind: &str, server: &Container) -> Result<()> {
    const HTTP: &str =
        "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; read -r line <&3; [ \"$line\" ]";
    let ping = ["mariadb-admin", "--host=127.0.0.1", "--user=app", "--password=app", "ping"];
    let command: &[&str] = match kind {
        "redis" => &["redis-cli", "ping"],
        "mariadb" => &ping,
        "postgres" => &["/usr/lib/postgresql/15/bin/pg_isready", "--host=127.0.0.1"],
        _ => &["bash", "-c", HTTP],
    };
    run(server, command)
}

fn run(server: &Container, command: &[&str]) -> Result<()> {
    let out = server.exec(command)?;
    ensure!(out.status.success(), "{}: {}", command.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

/// As a cluster does it, but for the half minute that it would wait: those that leave no time for their own end are killed.
fn stop(server: Container) -> Result<()> {
    server.signal("TERM")?;
    let gone = crate::wait::try_wait_for(std::time::Duration::from_secs(10), || (!server.is_running()).then_some(()));
    if gone.is_none() {
        server.signal("KILL")?;
    }
    server.wait(std::time::Duration::from_secs(30));
    server.remove()
}

impl Parts {
    fn start(kind: &str, id: &str, containerd: &Containerd, network: &Netns) -> Result<Self> {
        let mut database = None;
        let options = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=32M"];
        let server = match kind {
            "redis" => Server::Redis(Redis::start_saving(containerd, network, id, "60 100")?),
            "nginx" => Server::Nginx(Nginx::start(containerd, network, id)?),
            "mariadb" => Server::Mariadb(Mariadb::start_with(containerd, network, id, &options)?),
            "webapp" => {
                database = Some(Mariadb::start_with(containerd, network, &format!("{id}-database"), &options)?);
                Server::WebApp(WebApp::start(containerd, network, id)?)
            }
            "postgres" => Server::Postgres(Postgres::start(containerd, network, id)?),
            "apache" => Server::Shop(Shop::Apache, Shop::Apache.start(containerd, network, id)?),
            "node" => Server::Shop(Shop::Node, Shop::Node.start(containerd, network, id)?),
            "java" => Server::Shop(Shop::Java, Shop::Java.start(containerd, network, id)?),
            other => bail!("there is no server {other:?}"),
        };
        let load = server.load(id, containerd, network)?;
        Ok(Self { server, load, database })
    }
}

impl Server {
    /// Starts its clients.
    fn load(&self, id: &str, containerd: &Containerd, network: &Netns) -> Result<Load> {
        let clients = format!("{id}-clients");
        match self {
            Self::Redis(_) => Redis::load(containerd, network, &clients),
            Self::Nginx(nginx) => nginx.customers(&clients, 3),
            Self::Mariadb(database) => database.slap(&clients, &Slap { clients: 4, queries: 25, pause_ms: 1000 }),
            Self::WebApp(app) => app.visit(&clients, 2, 200, 1),
            Self::Postgres(database) => database.load(&clients),
            Self::Shop(shop, _) => shop.visitors(containerd, network, id),
        }
    }
}
