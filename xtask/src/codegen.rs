//! `xtask codegen`: from proto/proto/**/*.proto to proto/src/generated/.
//!
//! protox compiles the .proto files in Rust, so nobody needs `protoc`.

use crate::workspace;
use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use std::{fs, path::Path};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when the committed code is not what the .proto files say
    #[arg(long)]
    check: bool,
}

/// Fails when the committed code is not what the .proto files say.
pub(crate) fn check() -> Result<()> {
    run(&Args { check: true })
}

const FILES: [&str; 5] = ["common.proto", "ingest.proto", "scores.proto", "profiles.proto", "status.proto"];

pub(crate) fn run(args: &Args) -> Result<()> {
    let proto = workspace::root().join("proto");
    let out = proto.join("src/generated");
    let fresh = workspace::root().join("target/codegen");
    fs::create_dir_all(&fresh)?;
    generate(&proto.join("proto"), &fresh)?;
    for name in ["surprisal.v1.rs", "surprisal.v1.bin"] {
        let new = fs::read(fresh.join(name))?;
        let path = out.join(name);
        if fs::read(&path).ok().as_deref() == Some(&new) {
            continue;
        }
        if args.check {
            bail!("{} is not what proto/proto says; run `cargo xtask codegen` and commit", path.display());
        }
        fs::create_dir_all(&out)?;
        fs::write(&path, new)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn generate(include: &Path, out: &Path) -> Result<()> {
    let files = FILES.map(|f| include.join("surprisal/v1").join(f));
    let set = protox::compile(&files, [include]).context("compiling the .proto files")?;
    fs::write(out.join("surprisal.v1.bin"), set.encode_to_vec())?;
    // Maps in the order of their keys: the same message is the same bytes, and packs better.
    tonic_prost_build::configure().btree_map(".").out_dir(out).compile_fds(set).context("generating Rust from the .proto files")
}
