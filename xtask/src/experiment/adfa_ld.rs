//! `xtask experiment adfa-ld`: every method on ADFA-LD (Creech and Hu, 2013), in two named protocols.
//!
//! In: the data set, as a folder or a `.tar.zst`. Out: on stdout Cosmos' table with ours beside it, with `--json` all
//! figures. Never: copies the data set into the project; chooses anything by an attack that is judged.
//!
//! The work is `surprisal-scorer evaluate`'s; here its data set is laid out and its figures are set beside Cosmos'.

mod data;
mod table;

use crate::shell;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// Folds of the labelled protocol, as in what was measured for this project before.
const FOLDS: u32 = 3;
/// Cores that the model may use: fixed, since another number adds in another order.
const THREADS: u32 = 2;
/// The model's size and training: more than `train`'s defaults, since the data set is larger than a recording of minutes.
const MODEL: [&str; 6] = ["--hidden", "128", "--max-windows", "8192", "--epochs", "16"];
/// Of this many traces `--quick` takes one.
const QUICK: usize = 8;
/// `evaluate` ends so when a method failed and the others are reported.
const METHOD_FAILED: i32 = 1;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder or .tar.zst with train.txt, val.txt, attack.txt and attack.labels.tsv
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Write all figures there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Every eighth trace only, for a first look: its figures are comparable with nothing
    #[arg(long)]
    quick: bool,
    /// Only these methods [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    methods: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    // First what may be wrong with the call: it takes no time.
    let read = data::read(&args.data)?;
    for difference in read.differences() {
        eprintln!("experiment: this is not the ADFA-LD of the literature: {difference}");
    }
    let scorer = super::scorer::build()?;
    let scratch = tempfile::Builder::new().prefix("surprisal-adfa-ld.").tempdir().context("making a temporary directory")?;
    let layout = scratch.path().join("adfa-ld");
    read.every(if args.quick { QUICK } else { 1 }).lay_out(&layout)?;
    let report = evaluate(&scorer, &layout, args)?;
    let figures = figures(report, args)?;
    if let Some(path) = &args.json {
        fs::write(path, format!("{figures:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    print!("{}", table::markdown(&figures));
    eprintln!("experiment: {:.0} s", began.elapsed().as_secs_f64());
    let failed = table::failed(&figures);
    ensure!(failed.is_empty(), "these could not be measured: {}", failed.join("; "));
    Ok(())
}

/// Runs the scorer; its progress goes to stderr.
fn evaluate(scorer: &Path, layout: &Path, args: &Args) -> Result<Value> {
    let json = layout.with_extension("json");
    let mut command = Command::new(scorer);
    command.arg("evaluate").arg(layout).args(["--abi", "i386", "--allow-leakage"]).arg("--json").arg(&json);
    command.args(["--labelled-folds", &FOLDS.to_string(), "--threads", &THREADS.to_string()]);
    command.args(["--seed", &args.seed.to_string()]).args(MODEL);
    if !args.methods.is_empty() {
        command.args(["--methods", &args.methods.join(",")]);
    }
    eprintln!("experiment: {}", shell::show(&command));
    // Its tables say what ours says, and more than fits beside Cosmos'.
    let status = shell::status(command.stdout(Stdio::null()))?;
    match status.code() {
        Some(0) => {}
        Some(METHOD_FAILED) if json.exists() => {}
        Some(code) => {
            let code = u8::try_from(code).unwrap_or(1);
            return Err(shell::Exit::new(code, format!("{} ended with {status}", shell::show(&command))).into());
        }
        None => bail!("{} ended with {status}", shell::show(&command)),
    }
    let text = fs::read_to_string(&json).with_context(|| format!("reading {}", json.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", json.display()))
}

/// What the scorer reported, without what differs from run to run, and with what Cosmos printed.
fn figures(report: Value, args: &Args) -> Result<Value> {
    let Value::Object(mut report) = report else { bail!("evaluate's figures are no JSON object") };
    if let Some(Value::Object(data)) = report.get_mut("data") {
        data.insert("path".into(), "adfa-ld".into());
    }
    let mut figures = Map::new();
    figures.insert("experiment".into(), "adfa-ld".into());
    figures.insert("quick".into(), args.quick.into());
    figures.insert("source".into(), "Creech and Hu, 2013".into());
    figures.insert("cosmos".into(), json!({ "source": "Cosmos, thesis, Table 8", "methods": table::cosmos() }));
    figures.append(&mut report);
    Ok(figures.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_do_not_name_where_the_data_lay() {
        let args = Args { data: "x".into(), json: None, seed: 1, quick: false, methods: Vec::new() };
        let report = json!({ "data": { "path": "/tmp/some.where", "kind": "traces" }, "seed": 1, "protocols": {} });
        let figures = figures(report, &args).expect("an object");
        assert!(!figures.to_string().contains("some.where"));
        assert_eq!(figures["data"], json!({ "path": "adfa-ld", "kind": "traces" }));
        assert_eq!(figures["cosmos"]["methods"]["lstm"]["auc"], 0.948);
        super::figures(json!([]), &args).expect_err("no object");
    }
}
