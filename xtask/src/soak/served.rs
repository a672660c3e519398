//! Agent and scorer, as the soak starts them.
//!
//! In: where the programs are. Out: daemons that answer. Never: the user's own configuration.

use crate::bench::overhead::states::scrape;
use anyhow::Result;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use surprisal_e2e::{Containerd, Daemon, scorer::free_address};

/// Daemons have this long to start, and to end.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// Where the programs are.
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) scorer: PathBuf,
    pub(super) maps: PathBuf,
}

/// A daemon with its figures.
pub(super) struct Served {
    pub(super) daemon: Daemon,
    pub(super) admin: SocketAddr,
    url: String,
}

impl Served {
    /// Without profiles: what it keeps of containers and threads is the same, and the model's own bound is another bench's.
    pub(super) fn scorer(programs: &Programs, containerd: &Containerd) -> Result<Self> {
        let (listen, admin) = (free_address()?, free_address()?);
        let profiles = containerd.scratch().path().join("profiles");
        fs::create_dir_all(&profiles)?;
        let mut command = program(&programs.scorer);
        command.args(["serve", "--listen", &listen.to_string(), "--admin", &admin.to_string(), "--profiles"]).arg(&profiles);
        let mut daemon = Daemon::start(containerd.scratch(), "scorer", command.env("OMP_WAIT_POLICY", "PASSIVE"))?;
        let answers = |_: &str| scrape(admin).is_ok();
        daemon.wait_until("it answers", PATIENCE, answers)?;
        Ok(Self { daemon, admin, url: format!("http://{listen}") })
    }

    pub(super) fn agent(programs: &Programs, containerd: &Containerd, scorer: &Self) -> Result<Self> {
        let admin = free_address()?;
        let select = format!("namespace={}", containerd.namespace());
        let mut command = program(&programs.agent);
        command.args(["run", "--select", &select, "--admin", &admin.to_string(), "--scorer", &scorer.url]);
        let mut daemon = Daemon::start(containerd.scratch(), "agent", &mut command)?;
        daemon.wait_for_log("capturing", PATIENCE)?;
        daemon.wait_for_log("connected to the scorer", PATIENCE)?;
        Ok(Self { daemon, admin, url: String::new() })
    }
}

/// Without the user's own configuration.
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for name in ["SURPRISAL_SCORER", "NODE_NAME", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}
