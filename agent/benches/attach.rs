//! Holds an empty program on the hot path's hook: what a benchmark compares the agent with.
//!
//! In: root. Out: `attached` on stdout once it is; the program is gone with this process. Never: part of the product;
//! `cargo xtask bench overhead` starts it.

use anyhow::Result;
use std::thread;
use surprisal_agent::bpf::{Kernel, Options};

fn main() -> Result<()> {
    let mut kernel = Kernel::load(&Options::default())?;
    kernel.attach_empty()?;
    println!("attached");
    loop {
        // Until it is killed.
        thread::park();
    }
}
