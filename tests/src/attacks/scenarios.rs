//! The scenarios: whom each attacks, how it gets in, what it does there.
//!
//! In: a [`super::Target`]. Out: what the attacker saw. Never: more than the sentence beside it says.

mod mariadb;
mod moves;
mod nginx;
mod postgres;
mod redis;
mod shops;
mod webapp;

use super::Scenario;
use std::sync::LazyLock;

/// All of them, server by server.
pub static SCENARIOS: LazyLock<Vec<Scenario>> =
    LazyLock::new(|| [redis::ALL, nginx::ALL, webapp::ALL, mariadb::ALL, postgres::ALL, shops::ALL].concat());
