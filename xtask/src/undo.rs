//! What has to be undone, however a command ends.
//!
//! In: a step for each thing that was switched on, right after it was. Out: the steps taken in reverse when the value is
//! dropped: at the end, on an error, on a signal that is caught, on a panic. Never: leaves out the rest because one step failed.

use anyhow::Result;

type Step = (String, Box<dyn FnOnce() -> Result<()>>);

/// The steps.
#[derive(Default)]
pub(crate) struct Undo(Vec<Step>);

impl Undo {
    /// Adds a step; `what` names it in the warning when it fails.
    pub(crate) fn later(&mut self, what: &str, step: impl FnOnce() -> Result<()> + 'static) {
        self.0.push((what.to_owned(), Box::new(step)));
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for (what, step) in self.0.drain(..).rev() {
            if let Err(error) = step() {
                eprintln!("not undone: {what}: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Undo;
    use anyhow::{Result, bail};
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    /// What was undone when a command ended with `end`.
    fn check(end: impl FnOnce() -> Result<()>) -> Vec<u32> {
        let undone = Arc::new(Mutex::new(Vec::new()));
        let command = || -> Result<()> {
            let mut undo = Undo::default();
            for n in 1..=3 {
                let undone = Arc::clone(&undone);
                undo.later("a switch", move || {
                    undone.lock().expect("nobody panics with it").push(n);
                    anyhow::ensure!(n != 2, "it is stuck");
                    Ok(())
                });
            }
            end()
        };
        let _ended = catch_unwind(AssertUnwindSafe(command));
        let undone = undone.lock().expect("nobody panics with it");
        undone.clone()
    }

    #[test]
    fn all_is_undone_in_reverse_however_it_ends() {
        assert_eq!(check(|| Ok(())), [3, 2, 1]);
        assert_eq!(check(|| bail!("half-way")), [3, 2, 1]);
        assert_eq!(check(|| panic!("on purpose")), [3, 2, 1]);
    }
}
