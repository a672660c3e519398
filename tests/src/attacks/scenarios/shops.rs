//! Attacks on the small shops: Apache, Node.js, Java.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{DRIP, LOOK_AROUND, LOOT, PLANT_KEY, TUNNEL};
use crate::attacks::{Ready, Scenario};

const CGI: &str = "command in a CGI script's query";
const FUNCTION_IN_JSON: &str = "function in a cookie of the Node.js application";
const OBJECT: &str = "serialised object in a cookie of the Java application";

/// JavaScript in the application.
const ENGINE: &str = "(() => { const s = require('net').connect('/var/run/docker.sock');
s.on('error', () => {}); s.on('data', () => s.end()); s.write('GET /containers/json HTTP/1.0\\r\\n\\r\\n'); return 'asked' })()";

/// JavaScript in the application. Only opened: were it writable, nothing would be written.
const CORE_PATTERN: &str = "(() => { try { fs.closeSync(fs.openSync('/proc/sys/kernel/core_pattern', 'r+')); return 'writable' }
catch (error) { return error.code } })()";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "cgi",
        server: "apache",
        technique: "T1190",
        entry: CGI,
        what: "a shell out of the CGI script looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=33(www-data)",
    },
    Scenario {
        name: "dns-tunnel",
        server: "apache",
        technique: "T1071.004",
        entry: CGI,
        what: "sends the token out in the names of thirty DNS questions",
        services: &[(53, Ready::Datagrams)],
        act: |t| t.run(TUNNEL),
        proof: "\u{4}evil\u{4}test",
    },
    Scenario {
        name: "slow-exfiltration",
        server: "apache",
        technique: "T1030",
        entry: CGI,
        what: "sends a file out at a kilobyte a second",
        services: &[(LOOT, Ready::Sink)],
        act: |t| t.run(DRIP),
        proof: "All sales are final",
    },
    Scenario {
        name: "deserialise",
        server: "node",
        technique: "T1190",
        entry: FUNCTION_IN_JSON,
        what: "a shell out of the application looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=0(root)",
    },
    Scenario {
        name: "docker-socket",
        server: "node",
        technique: "T1611",
        entry: FUNCTION_IN_JSON,
        what: "asks the host's container engine for its containers, by a socket that was mounted into the container (a stand-in answers); no process starts",
        services: &[(0, Ready::Engine)],
        act: |t| t.javascript(ENGINE),
        proof: "GET /containers/json",
    },
    Scenario {
        name: "core-pattern",
        server: "node",
        technique: "T1611",
        entry: FUNCTION_IN_JSON,
        what: "tries to make the kernel run a program of the container's when a process crashes; the file is read-only; no process starts",
        services: &[],
        act: |t| t.javascript(CORE_PATTERN),
        proof: "EROFS",
    },
    Scenario {
        name: "deserialise",
        server: "java",
        technique: "T1190",
        entry: OBJECT,
        what: "a shell out of the application looks around",
        services: &[],
        act: |t| t.run(LOOK_AROUND),
        proof: "uid=0(root)",
    },
    Scenario {
        name: "ssh-key",
        server: "java",
        technique: "T1098.004",
        entry: OBJECT,
        what: "a key of the attacker's in root's authorized_keys",
        services: &[],
        act: |t| t.run(PLANT_KEY),
        proof: "mallory@home",
    },
];
