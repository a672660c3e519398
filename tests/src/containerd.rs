//! A containerd of the test's own, and its containers.
//!
//! In: images, and what to run of them. Out: running containers with their ids, processes and output. Never: touches
//! the host's containerd or /run/containerd: this one runs in a private mount namespace where that directory is its
//! own, so that shims and runc keep their state there.
//!
//! Everything ends with the [`Containerd`]; see [`crate::scratch`].

use crate::{
    Daemon, Scratch,
    images::Archive,
    scratch::is_running,
    wait::{try_wait_for, wait_for},
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How the host's cgroups look to containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// As they are.
    Host,
    /// As on a host of version 1: the unified hierarchy is not mounted where containerd runs, so that runc leaves
    /// containers in its root.
    V1Only,
}

/// A containerd. Clones are the same one; it ends with the last.
#[derive(Clone, Debug)]
pub struct Containerd {
    inner: Arc<Inner>,
    /// Containers are in pods.
    pods: bool,
}

/// The container's name in a pod of [`Containerd::in_pods`].
const POD_CONTAINER: &str = "server";

#[derive(Debug)]
struct Inner {
    namespace: String,
    daemon: Daemon,
    // Last: ends what the daemon has started when the daemon is gone.
    scratch: Scratch,
}

impl Containerd {
    /// Starts one.
    pub fn start() -> Result<Self> {
        Self::start_with(Cgroups::Host)
    }

    /// Starts one on a host whose cgroups look like `cgroups`.
    pub fn start_with(cgroups: Cgroups) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let scratch = Scratch::new()?;
        let dir = scratch.path();
        let namespace = format!("e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        scratch.owns_cgroup(&namespace)?;
        for name in ["run", "logs"] {
            fs::create_dir(dir.join(name))?;
        }
        // Only a mount point; it stays empty outside the private namespace.
        fs::create_dir_all("/run/containerd").context("creating /run/containerd; this needs root")?;
        fs::write(dir.join("containerd.toml"), configuration(dir))?;
        let unmount = match cgroups {
            Cgroups::Host => "",
            Cgroups::V1Only => "umount /sys/fs/cgroup/unified",
        };
        let script = format!(
            "set -e\nmount --bind {dir}/run /run/containerd\n{unmount}\nexec containerd --config {dir}/containerd.toml",
            dir = dir.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).current_dir(dir);
        let daemon = Daemon::start(&scratch, "containerd", &mut command)?;
        let mut inner = Inner { namespace, daemon, scratch };
        let socket = inner.scratch.path().join("containerd.sock");
        inner.daemon.wait_until("its socket", Duration::from_secs(20), |_| socket.exists())?;
        let containerd = Self { inner: Arc::new(inner), pods: false };
        let ready = try_wait_for(Duration::from_secs(20), || containerd.ctr(&["version"]).ok());
        ready.with_context(|| format!("containerd does not answer; its log:\n{}", containerd.inner.daemon.log()))?;
        Ok(containerd)
    }

    /// Its directory, for files of the test too.
    pub fn scratch(&self) -> &Scratch {
        &self.inner.scratch
    }

    /// containerd's namespace in which all its containers are; no other containerd's has this name.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.inner.scratch.path().join("containerd.sock")
    }

    /// Takes an image.
    pub fn import(&self, archive: &Archive) -> Result<()> {
        self.ctr(&["image", "import", &archive.path.to_string_lossy()]).map(drop)
    }

    /// Starts a container and leaves it running.
    pub fn run(&self, run: &Run) -> Result<Container> {
        let pid_file = self.inner.scratch.path().join(format!("{}.pid", run.id));
        let log = self.inner.scratch.path().join("logs").join(&run.id);
        // An earlier container of this id may have left one, to which the shim would append.
        if log.exists() {
            fs::remove_file(&log).with_context(|| format!("removing {}", log.display()))?;
        }
        let mut command = self.ctr_command(&["run", "--detach"]);
        command.arg("--log-uri").arg(format!("file://{}", log.display())).arg("--pid-file").arg(&pid_file);
        if self.pods {
            let annotations = [("container-type", "container"), ("container-name", POD_CONTAINER)];
            let sandbox = [("sandbox-name", run.id.as_str()), ("sandbox-namespace", &self.inner.namespace)];
            for (key, value) in annotations.into_iter().chain(sandbox) {
                command.arg("--annotation").arg(format!("io.kubernetes.cri.{key}={value}"));
            }
        }
        run.add_to(&mut command);
        finish(&mut command)?;
        let text = fs::read_to_string(&pid_file).with_context(|| format!("reading {}", pid_file.display()))?;
        let pid = text.trim().parse().with_context(|| format!("{} holds {text:?}", pid_file.display()))?;
        Ok(Container { containerd: self.clone(), id: run.id.clone(), pid, log })
    }

    /// The same, where every container started through this value is in a pod of its own id, as Kubernetes' runtime annotates
    /// them: `redis-3` is a replica of `redis`, and shares its workload ([`Containerd::workload_of`]).
    #[must_use]
    pub fn in_pods(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), pods: true }
    }

    /// The workload of [`Containerd::in_pods`]' replicas of `owner`.
    pub fn workload_of(&self, owner: &str) -> String {
        format!("{}/{owner}/{POD_CONTAINER}", self.inner.namespace)
    }

    /// Runs a container to its end and removes it; an error when it does not end with 0.
    pub fn run_to_end(&self, run: &Run) -> Result<String> {
        let mut command = self.ctr_command(&["run", "--rm"]);
        run.add_to(&mut command);
        finish(&mut command)
    }

    /// Runs `ctr ARGS…` and returns its output.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        finish(&mut self.ctr_command(args))
    }

    /// `ctr` in the mount namespace where /run/containerd is this one's: it makes FIFOs there.
    fn ctr_command(&self, args: &[&str]) -> Command {
        let mut command = self.inside("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", &self.inner.namespace]).args(args);
        command
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.inner.daemon.pid())).arg(program).stdin(Stdio::null());
        command
    }
}

/// Neither the CRI plugin (it would serve on a TCP port) nor metrics.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{dir}/containerd.sock"
[ttrpc]
  address = "{dir}/containerd.sock.ttrpc"
[debug]
  level = "warn"
[metrics]
  address = ""
"#
    )
}

fn finish(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    if !out.status.success() {
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!("{} ended with {}: {}", args.join(" "), out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Run {
    id: String,
    image: String,
    command: Vec<String>,
    options: Vec<String>,
}

impl Run {
    /// `command` of `image` as container `id`.
    pub fn new(id: &str, image: &Archive, command: &[&str]) -> Self {
        let command = command.iter().map(|s| (*s).to_owned()).collect();
        Self { id: id.to_owned(), image: image.reference.clone(), command, options: Vec::new() }
    }

    /// With a file or directory of the host in it, read-only.
    #[must_use]
    pub fn mount(self, from: &Path, to: &str) -> Self {
        self.option("--mount", format!("type=bind,src={},dst={to},options=rbind:ro", from.display()))
    }

    /// In a network namespace of the test's own.
    #[must_use]
    pub fn netns(self, path: &Path) -> Self {
        self.option("--with-ns", format!("network:{}", path.display()))
    }

    /// Held by another shim: the program at `path`.
    #[must_use]
    pub fn shim(self, path: &Path) -> Self {
        self.option("--runtime", path.display().to_string())
    }

    /// With an annotation of its OCI bundle, as Kubernetes' runtime writes them.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.option("--annotation", format!("{key}={value}"))
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(self, key: &str, value: &str) -> Self {
        self.option("--env", format!("{key}={value}"))
    }

    fn option(mut self, name: &str, value: String) -> Self {
        self.options.extend([name.to_owned(), value]);
        self
    }

    fn add_to(&self, command: &mut Command) {
        command.args(&self.options).arg(&self.image).arg(&self.id).args(&self.command);
    }
}

/// A container that was started; it ends with its [`Containerd`] or by [`Container::remove`].
#[derive(Clone, Debug)]
pub struct Container {
    containerd: Containerd,
    id: String,
    pid: u32,
    log: PathBuf,
}

impl Container {
    /// containerd's id of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its first process, as the host numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The workload that it is.
    pub fn workload(&self) -> String {
        format!("{}/-/{}", self.containerd.namespace(), self.id)
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until it has written `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str, timeout: Duration) {
        wait_for(&format!("{text:?} from container {}", self.id), timeout, || self.log().contains(text).then_some(()));
    }

    /// Runs a command in it, through the runtime as `kubectl exec` does.
    pub fn exec(&self, command: &[&str]) -> Result<Output> {
        let mut ctr = self.containerd.ctr_command(&["task", "exec", "--exec-id", &exec_id(), &self.id]);
        ctr.args(command).output().context("starting ctr")
    }

    /// Starts a command in it, and leaves it running. Its process id.
    pub fn exec_detached(&self, command: &[&str]) -> Result<u32> {
        let id = exec_id();
        let exec = ["task", "exec", "--detach", "--exec-id", &id, &self.id];
        self.containerd.ctr(&[&exec[..], command].concat())?;
        // `PID INFO`, and the information of what was executed names its id.
        let list = self.containerd.ctr(&["task", "ps", &self.id])?;
        let line = list.lines().find(|line| line.contains(&id)).with_context(|| format!("no {id} in {list}"))?;
        line.split_whitespace().next().and_then(|pid| pid.parse().ok()).with_context(|| format!("no process id: {line}"))
    }

    /// A host's program in its network namespace.
    pub fn in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg(program);
        command
    }

    /// Its first process runs.
    pub fn is_running(&self) -> bool {
        is_running(self.pid)
    }

    /// Freezes all its processes. On a busy machine runc gives up now and then ("unable to freeze") while they fork.
    pub fn pause(&self) -> Result<()> {
        let paused = || self.containerd.ctr(&["task", "pause", &self.id]);
        (0..5).find_map(|_| paused().ok()).map_or_else(paused, Ok).map(drop)
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<()> {
        self.containerd.ctr(&["task", "resume", &self.id]).map(drop)
    }

    /// Sends a signal ("TERM", "KILL") to its first process.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.containerd.ctr(&["task", "kill", "--signal", name, &self.id]).map(drop)
    }

    /// Waits until its first process has ended.
    #[track_caller]
    pub fn wait(&self, timeout: Duration) {
        wait_for(&format!("the end of container {}", self.id), timeout, || (!self.is_running()).then_some(()));
    }

    /// Kills it if it runs, and removes it.
    pub fn remove(self) -> Result<()> {
        if self.is_running() {
            self.signal("KILL")?;
            self.wait(Duration::from_secs(10));
        }
        // containerd hears of the end a little after it.
        try_wait_for(Duration::from_secs(10), || self.stopped().ok().filter(|stopped| *stopped))
            .with_context(|| format!("containerd did not see the end of {}", self.id))?;
        // This ends with the task's own exit code.
        let _ = self.containerd.ctr_command(&["task", "delete", &self.id]).output()?;
        self.containerd.ctr(&["container", "delete", &self.id]).map(drop)
    }

    fn stopped(&self) -> Result<bool> {
        let list = self.containerd.ctr(&["task", "list"])?;
        let mut tasks = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(!tasks.any(|fields| fields.first() == Some(&&*self.id) && fields.last() != Some(&"STOPPED")))
    }
}

/// A new name for a command in a container.
fn exec_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("exec-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
