//! `xtask experiment adfa-ld`: every method on ADFA-LD (Creech and Hu, 2013), in two named protocols.
//!
//! In: the data set, as a folder or a `.tar.zst`. Out: Cosmos' table with ours beside it. Never: copies the data
//! set into the project.

use anyhow::{Result, bail};
use std::path::PathBuf;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder or .tar.zst with train.txt, val.txt, attack.txt and attack.labels.tsv
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Write the figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Smaller models, for a first look: the table is not comparable
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    bail!("{}: not built yet (json {:?}, seed {}, quick {})", args.data.display(), args.json, args.seed, args.quick);
}
