//! The tracepoints' file system, for as long as something needs it.
//!
//! In: nothing. Out: /sys/kernel/tracing is there; what was mounted for it goes with the value. Never: unmounts somebody
//! else's.

use crate::{shell, undo::Undo};
use anyhow::Result;
use std::{fs, path::Path, process::Command};

const TRACEFS: &str = "/sys/kernel/tracing";
/// Marks our mount; a killed run may have left one.
const SOURCE: &str = "surprisal-tracefs";

/// Mounts it unless it is there; perf, without it, would mount it for good.
pub(super) fn mounted() -> Result<Undo> {
    let mut undo = Undo::default();
    if !Path::new(TRACEFS).join("events").is_dir() {
        shell::run(Command::new("mount").args(["-t", "tracefs", SOURCE, TRACEFS]))?;
    }
    if fs::read_to_string("/proc/mounts")?.lines().any(|line| line.starts_with(SOURCE)) {
        undo.later("the mount of tracefs", || shell::run(Command::new("umount").arg(TRACEFS)));
    }
    Ok(undo)
}
