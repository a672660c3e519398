//! The programs by name: loading, attaching and running one.
//!
//! In: a loaded object, a program's name. Out: the program in the kernel, or which step failed. Never: chooses which.

use super::error::LoadError;
use aya::{
    Ebpf,
    programs::{Iter, Program, ProgramError},
};
use std::io::{self, Read as _};

/// How often a program ran, and for how long; 0 unless [`Options::stats`](super::options::Options::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The program.
    pub program: &'static str,
    /// Runs since the kernel has been counting.
    pub count: u64,
    /// Their time, nanoseconds.
    pub nanoseconds: u64,
}

/// All programs that are loaded.
pub const PROGRAMS: [&str; 7] = [LIFECYCLE[0], LIFECYCLE[1], LIFECYCLE[2], LIFECYCLE[3], "sys_enter", "peek", "seed"];

/// Those that follow membership and connections.
pub(super) const LIFECYCLE: [&str; 4] = ["sched_process_fork", "sched_process_exec", "sched_process_exit", "inet_sock_set_state"];

/// Runs a program over all tasks.
pub(super) fn run_iterator(ebpf: &mut Ebpf, program: &'static str) -> Result<(), LoadError> {
    let iterator = iter(ebpf, program)?;
    let link = iterator.attach().and_then(|id| iterator.take_link(id)).map_err(program_error("attaching", program))?;
    let mut pass = link.into_file().map_err(|e| LoadError::Iterator { program, source: Box::new(e) })?;
    // The programs write nothing: reading to the end runs them over all tasks, some thousands a read.
    let mut nothing = [0; 64];
    loop {
        match pass.read(&mut nothing) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(source) => return Err(LoadError::IteratorRead { program, source }),
        }
    }
}

pub(super) fn program_error(action: &'static str, program: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Program { action, program, source: Box::new(source) }
}

/// Loads a program for a tracepoint of the kind that it was compiled for.
pub(super) fn load_tracepoint(ebpf: &mut Ebpf, program: &'static str, tracepoint: &str, btf: &aya::Btf) -> Result<(), LoadError> {
    match ebpf.program_mut(program) {
        Some(Program::BtfTracePoint(found)) => found.load(tracepoint, btf),
        Some(Program::RawTracePoint(found)) => found.load(),
        _ => return Err(LoadError::Incomplete(program)),
    }
    .map_err(program_error("loading", program))
}

/// Attaches it there.
pub(super) fn attach_tracepoint(ebpf: &mut Ebpf, program: &'static str, tracepoint: &str) -> Result<(), LoadError> {
    match ebpf.program_mut(program) {
        Some(Program::BtfTracePoint(found)) => found.attach().map(drop),
        Some(Program::RawTracePoint(found)) => found.attach(tracepoint).map(drop),
        _ => return Err(LoadError::Incomplete(program)),
    }
    .map_err(program_error("attaching", program))
}

/// A program that runs over all tasks.
pub(super) fn iter<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut Iter, LoadError> {
    let found = ebpf.program_mut(program).ok_or(LoadError::Incomplete(program))?;
    found.try_into().map_err(program_error("finding", program))
}
