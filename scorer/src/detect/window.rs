//! A thread's runs of calls, cut into windows. *Pure.*
//!
//! In: [`Run`]s of one thread, in order. Out: [`Cut`]s: windows to score, and what a gap made unscorable.
//! Never: a clock (the caller says when a thread has gone quiet), a model.
//!
//! The rule, the same in serving, training and calibration:
//! - A window is [`CALLS`] consecutive calls of one thread; the next begins where it ended, so each call is
//!   scored once. The up to [`CONTEXT`] calls before it are shown to the model and not scored.
//! - A thread's first window begins at the thread's start, which the model is told.
//! - A thread that ends, or of which nothing arrives for [`QUIET`], has its partial window cut at once; what it
//!   does later begins a new one, with the calls before as context. The clock is the arrival of runs: the
//!   scorer's own, or for a recording the highest time so far of any run in it.
//! - A gap drops the pending calls: a window never spans a loss. The [`CONTEXT`] calls after a gap (or after
//!   a start that was not seen) only become context: without calls before them they would look surprising.

use std::time::Duration;
use surprisal_proto::token::Token;

/// Calls scored in a full window.
pub const CALLS: usize = 64;
/// Calls shown before a window's own, at most.
pub const CONTEXT: usize = 16;
/// A window's surprisal is divided by at least this many calls; see [`crate::detect::score::window`].
pub const SHORTEST: usize = 16;
/// Silence after which a partial window is cut.
pub const QUIET: Duration = Duration::from_secs(1);

/// Consecutive calls of one thread, as they arrive.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Number of the first call in its thread, from 0.
    pub first_sequence: u64,
    /// Calls known lost directly before the first one.
    pub gap: u64,
    /// When the first call was entered, nanoseconds since the Unix epoch, node's clock.
    pub started_ns: u64,
    /// The calls; may be empty when `last`.
    pub calls: &'a [Token],
    /// The thread has ended.
    pub last: bool,
}

/// Calls to score together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Number of `calls[0]` in its thread.
    pub first_sequence: u64,
    /// When the run that holds `calls[0]` was begun, nanoseconds since the Unix epoch, node's clock.
    pub started_ns: u64,
    /// The thread began directly before `context[0]`, or before `calls[0]` where there is no context.
    pub from_start: bool,
    /// Calls before `calls`, oldest first; empty only if `from_start`.
    pub context: Vec<Token>,
    /// 1 to [`CALLS`] calls.
    pub calls: Vec<Token>,
}

/// What cutting gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// To be scored.
    Window(Window),
    /// A gap cut a window.
    Gapped {
        /// Calls that were pending and are not scored.
        dropped: u64,
        /// Calls lost in the gap, as far as it is known.
        lost: u64,
    },
}

/// Cuts one thread.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    /// Number of the next call, once a run was seen.
    next: Option<u64>,
    pending_ns: u64,
    pending: Vec<Token>,
    context: Vec<Token>,
    from_start: bool,
    /// Calls that still become context only.
    refill: usize,
}

impl Cutter {
    /// Takes a run; adds what it completes to `out`. Says how many of its calls became context only.
    pub fn push(&mut self, run: Run<'_>, out: &mut Vec<Cut>) -> usize {
        match self.next {
            None if run.first_sequence == 0 && run.gap == 0 => self.begin(),
            None => self.resume(),
            // The kernel gave the thread id away again, or the agent was restarted and counts anew.
            Some(next) if run.first_sequence == 0 && next > 0 && run.gap == 0 => {
                out.extend(self.flush().map(Cut::Window));
                self.begin();
            }
            Some(next) if run.first_sequence != next || run.gap > 0 => {
                let jump = run.first_sequence.saturating_sub(next);
                out.push(Cut::Gapped { dropped: self.pending.len() as u64, lost: run.gap.max(jump) });
                self.resume();
            }
            Some(_) => {}
        }
        let mut sequence = run.first_sequence;
        let only_context = self.refill.min(run.calls.len());
        for &call in run.calls {
            if self.refill > 0 {
                self.refill -= 1;
                self.remember(&[call]);
            } else {
                if self.pending.is_empty() {
                    self.pending_ns = run.started_ns;
                }
                self.pending.push(call);
            }
            // A hostile sequence may be anything; it must only not overflow.
            sequence = sequence.wrapping_add(1);
            self.next = Some(sequence);
            if self.pending.len() == CALLS {
                out.extend(self.flush().map(Cut::Window));
            }
        }
        self.next = Some(sequence);
        if run.last {
            out.extend(self.flush().map(Cut::Window));
        }
        only_context
    }

    /// Cuts the partial window, if there is one: the thread has ended or gone quiet.
    pub fn flush(&mut self) -> Option<Window> {
        if self.pending.is_empty() {
            return None;
        }
        let calls = std::mem::take(&mut self.pending);
        let window = Window {
            first_sequence: self.next.unwrap_or(0).wrapping_sub(calls.len() as u64),
            started_ns: self.pending_ns,
            from_start: self.from_start,
            context: self.context.clone(),
            calls,
        };
        self.remember(&window.calls);
        Some(window)
    }

    /// No run was seen yet.
    pub fn is_new(&self) -> bool {
        self.next.is_none()
    }

    /// Whether the call of this number is in no window to come.
    pub fn has_cut(&self, sequence: u64) -> bool {
        self.next.is_some_and(|next| sequence < next.saturating_sub(self.pending.len() as u64))
    }

    /// Calls that wait for their window to be completed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn begin(&mut self) {
        *self = Self { from_start: true, ..Self::default() };
    }

    fn resume(&mut self) {
        *self = Self { refill: CONTEXT, ..Self::default() };
    }

    fn remember(&mut self, calls: &[Token]) {
        self.context.extend_from_slice(calls);
        let beyond = self.context.len().saturating_sub(CONTEXT);
        if beyond > 0 {
            self.context.drain(..beyond);
            self.from_start = false;
        }
    }
}

#[cfg(test)]
mod tests;
