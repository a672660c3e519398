//! A load: how many clients make how many statements.
//!
//! In: `CLIENTSxQUERIES`. Out: a [`Load`]. Never: more clients than the server takes.

use std::{fmt, str::FromStr};

/// Clients at once, and statements of each in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) clients: u32,
    pub(super) queries: u32,
}

/// Cosmos' loads.
pub(super) const LOADS: [Load; 3] =
    [Load { clients: 100, queries: 20 }, Load { clients: 200, queries: 40 }, Load { clients: 500, queries: 60 }];

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.clients, self.queries)
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match numbers {
            // The server takes 590 connections, some of which are the application's.
            Some((clients @ 1..=500, queries @ 1..=10_000)) => Ok(Self { clients, queries }),
            _ => Err(format!("{text:?} is not CLIENTSxQUERIES with 1 to 500 clients and 1 to 10000 queries")),
        }
    }
}
