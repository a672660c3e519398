//! `evaluate`: how well do methods tell attacks from normal behaviour?
//!
//! In: a data set. Out: a [`report::Report`], and what belongs to it: scores, plots. Never: an attack that has a say in a
//! threshold, a hyper-parameter or a choice of method.
//!
//! # Data sets
//! A folder with three parts, each a folder or a single file of that name (with its ending):
//!
//! | part | holds |
//! |---|---|
//! | `normal-train` | normal behaviour, to learn from |
//! | `normal-test` | normal behaviour, to be judged |
//! | `attack` | attacks, to be judged |
//!
//! **Traces**: files `*.txt` (in a folder, others are passed over). A trace is a line; a file of one line is one trace
//! (`--traces file`: all lines of a file are one). Calls are numbers or names, of `--abi x86-64` or `i386`, separated by blanks
//! or commas; `openat:15` is a call with its class of arguments, as recordings spell it. Lines that begin with `#` are
//! comments. Below `attack`, the folder that a file lies in names the attack's family, or else the file itself:
//! `attack/Hydra_FTP_1/a.txt` and `attack/Hydra_FTP.txt` are both of `Hydra_FTP`.
//!
//! **Recordings** of the agent: `*.jsonl` or `*.jsonl.zst`; see [`recorded`].
//!
//! # Protocols
//! - `normal-only`: methods learn from `normal-train` alone and score the other two. The threshold is the one above which
//!   `--fpr` of the last fifth of `normal-train` lies, scored by a method that was fitted without it; then the method is fitted
//!   with all of it (`--one-fit`: is not).
//! - `labelled-cv` (`--labelled-folds K`, traces only): all traces are divided into K folds; methods learn from the labels of
//!   K-1 of them and score the one that is left out. The threshold is the method's own.
//!
//! These answer different questions; a figure of the one says nothing of the other.

pub mod abi;
pub mod baseline;
pub mod compare;
pub mod data;
pub mod error;
pub mod figures;
pub mod layout;
pub mod leakage;
pub mod lidds;
pub mod load;
pub mod methods;
pub mod metrics;
pub mod plot;
pub mod protocol;
pub mod recorded;
pub mod report;
pub mod scores;
pub mod text;
pub mod unit;
