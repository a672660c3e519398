//! `xtask experiment`: the tables of the closing note, made again from scratch.
//!
//! In: which experiment. Out: a table on stdout and, with `--json`, the same figures in a file. Never: chooses
//! anything by looking at an attack; passes or fails by a figure.

mod adfa_ld;
mod attacks;
mod line;
mod mariadb;
mod poisson;
mod quiet;
mod scorer;

use anyhow::Result;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// All methods on ADFA-LD, normal-only and labelled, beside what Cosmos printed
    AdfaLd(adfa_ld::Args),
    /// Attacks on servers in containers: seen or not, how soon, by what, and false alarms; needs root
    Attacks(attacks::Args),
    /// MariaDB under three loads, attacked with sqlmap, beside what Cosmos printed; needs root
    Mariadb(mariadb::Args),
    /// Servers that nobody attacks, under load that changes: false alarms a container-day; needs root
    Quiet(quiet::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::AdfaLd(args) => adfa_ld::run(args),
        What::Attacks(args) => attacks::run(args),
        What::Mariadb(args) => mariadb::run(args),
        What::Quiet(args) => quiet::run(args),
    }
}
