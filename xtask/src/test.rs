//! `xtask test`: everything that has to hold, on a fresh machine, alone.
//!
//! In: the tree. Out: each step's output, outcome and time, then one line `N passed, N failed`. Never: counts what was
//! skipped as passed; a skipped step or test is listed with its reason.
//!
//! Steps that do not disturb each other run side by side, each in a process of its own: its output goes to
//! target/test-steps/STEP.log and is printed whole when the step is over, so that no two mix.

mod build;
mod nextest;
mod outcome;
mod schedule;
mod step;

use crate::{
    shell::{self, Exit},
    workspace,
};
use anyhow::{Context as _, Result};
use outcome::Outcome;
use schedule::Schedule;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use step::Step;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this step; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
    /// List the steps and do nothing
    #[arg(long)]
    list: bool,
    /// Write how the one step ended there, and no summary: how this command calls itself
    #[arg(long, value_name = "FILE", hide = true)]
    outcome: Option<PathBuf>,
    /// The tests are built and listed
    #[arg(long, hide = true)]
    built: bool,
}

/// What was reported so far.
#[derive(Default)]
struct Report {
    lines: Vec<(Step, String)>,
    passed: u64,
    failed: u64,
}

impl Report {
    fn add(&mut self, step: Step, outcome: &Outcome, took: Duration) {
        let (name, seconds) = (step.name(), took.as_secs_f64());
        let text = match outcome {
            Outcome::Passed => {
                self.passed += 1;
                "passed".to_owned()
            }
            Outcome::Skipped(why) => format!("skipped: {why}"),
            Outcome::Tests(tests) => {
                self.passed += tests.passed;
                self.failed += tests.failed;
                let mut lines = vec![format!("{} tests passed, {} failed", tests.passed, tests.failed)];
                lines.extend(tests.skipped.iter().map(|s| format!("{:24}skipped: {s}", "")));
                lines.join("\n")
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                format!("FAILED: {why}")
            }
        };
        println!("-- {name}: {text} ({seconds:.1} s)");
        self.lines.push((step, format!("{name:<12} {seconds:>7.1} s  {text}")));
    }

    fn summary(&mut self, took: Duration) {
        println!("\n== summary ({:.1} min)", took.as_secs_f64() / 60.0);
        self.lines.sort_by_key(|(step, _)| *step);
        for (_, line) in &self.lines {
            println!("{line}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |step: &Step| args.only.is_empty() || args.only.contains(step);
    let steps: Vec<_> = Step::ALL.iter().copied().filter(wanted).collect();
    if args.list {
        for step in steps {
            println!("{:<12} {}", step.name(), step.title());
        }
        return Ok(());
    }
    let begin = Instant::now();
    let mut report = Report::default();
    match (&steps[..], &args.outcome) {
        ([step], Some(file)) => {
            let text = serde_json::to_vec(&outcome(*step, args.built))?;
            return fs::write(file, text).with_context(|| format!("writing {}", file.display()));
        }
        // Alone, it talks to the terminal.
        ([step], None) => {
            println!("\n== {}: {}", step.name(), step.title());
            report.add(*step, &outcome(*step, args.built), begin.elapsed());
        }
        _ => all(&steps, &mut report)?,
    }
    report.summary(begin.elapsed());
    // The summary's last line has to stay the last one.
    if report.failed > 0 { Err(Exit::new(1, "").into()) } else { Ok(()) }
}

fn outcome(step: Step, built: bool) -> Outcome {
    step.run(built).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
}

fn all(steps: &[Step], report: &mut Report) -> Result<()> {
    let dir = workspace::target().join("test-steps");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let mut schedule = Schedule::new(steps);
    let (send, ended) = mpsc::channel();
    let mut built = false;
    while !schedule.is_over() {
        for step in schedule.start() {
            println!("== {}: {}", step.name(), step.title());
            let (send, dir) = (send.clone(), dir.clone());
            thread::spawn(move || {
                let begin = Instant::now();
                let outcome = in_its_process(step, &dir, built).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
                // Fails only when nobody waits any more.
                let _ = send.send((step, outcome, begin.elapsed()));
            });
        }
        let (step, outcome, took) = ended.recv().context("no step is left, and they are not over")?;
        schedule.ended(step);
        println!("\n== output of {}", step.name());
        print_log(&log(&dir, step));
        report.add(step, &outcome, took);
        built |= step == Step::BuildTests && matches!(outcome, Outcome::Passed);
        if step == Step::Setup && matches!(outcome, Outcome::Failed(_)) {
            println!("without its tools nothing else can run");
            break;
        }
    }
    Ok(())
}

fn log(dir: &Path, step: Step) -> PathBuf {
    dir.join(format!("{}.log", step.name()))
}

/// Runs this program for one step.
fn in_its_process(step: Step, dir: &Path, built: bool) -> Result<Outcome> {
    let path = log(dir, step);
    let out = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let file = dir.join(format!("{}.json", step.name()));
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    // Not by name: the build step may write another one there.
    let this = format!("/proc/{}/exe", std::process::id());
    let mut command = Command::new("nice");
    command.args(["-n", &step.niceness().to_string(), &this, "test", "--only", &step.name(), "--outcome"]).arg(&file);
    if built {
        command.arg("--built");
    }
    let status = shell::status(command.stdout(out.try_clone()?).stderr(out))?;
    let text = fs::read(&file).with_context(|| format!("the step ended with {status}, and did not say how"))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))
}

fn print_log(path: &Path) {
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()));
    if let Err(error) = copied {
        println!("reading {}: {error}", path.display());
    }
    let _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_step_is_not_passed() {
        let mut report = Report::default();
        report.add(Step::Advisories, &Outcome::Skipped("why".to_owned()), Duration::ZERO);
        assert_eq!((report.passed, report.failed), (0, 0));
        assert!(report.lines[0].1.contains("skipped: why"));
    }
}
