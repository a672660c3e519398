//! Images for tests, from what the machine has and from Debian's packages.
//!
//! In: a name and a recipe. Out: an OCI archive in the cache, made once for each content of the recipe. Never: a
//! registry; none is needed.

use crate::{
    oci::{Image, Root},
    program,
};
use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// An archive and the name that it imports under.
#[derive(Clone, Debug)]
pub struct Archive {
    /// `localhost/redis:test`
    pub reference: String,
    /// The file.
    pub path: PathBuf,
}

/// This machine's busybox, which needs no libraries.
pub fn host_busybox() -> Result<&'static Path> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|p| p.is_file());
    found.context("no /bin/busybox; `cargo xtask setup containers` installs it")
}

/// busybox with a shell and all its applets, and the programs of tests/fixtures in /bin. Made in a second.
pub fn busybox() -> Result<Archive> {
    let busybox = host_busybox()?;
    let mut hash = Sha256::new();
    hash.update(fs::read(busybox)?);
    for source in program::sources()? {
        hash.update(fs::read(source)?);
    }
    cached("busybox", hash, |archive, reference| {
        let root = tempfile::tempdir_in(archive.parent().context("a directory")?)?;
        let bin = root.path().join("bin");
        for dir in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var/www/cgi-bin"] {
            fs::create_dir_all(root.path().join(dir))?;
        }
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::copy(busybox, bin.join("busybox"))?;
        let list = Command::new(busybox).arg("--list").output()?;
        for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
            symlink("busybox", bin.join(applet))?;
        }
        for source in program::sources()? {
            program::compile(&source, &bin)?;
        }
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
        fs::write(root.path().join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        Image::new(reference, Root::Directory(root.path().to_owned()), &["/bin/sh"]).write(archive)
    })
}

/// Debian's redis server and client.
pub fn redis() -> Result<Archive> {
    debian("redis", &["redis-server", "redis-tools", "bash", "coreutils"])
}

/// Debian's nginx.
pub fn nginx() -> Result<Archive> {
    debian("nginx", &["nginx", "bash", "coreutils"])
}

/// Debian's Python.
pub fn python() -> Result<Archive> {
    debian("python", &["python3", "bash", "coreutils"])
}

/// Debian's MariaDB: the server with an empty database in /var/lib/mysql, whose root has no password, and the clients,
/// `mariadb-slap` among them.
pub fn mariadb() -> Result<Archive> {
    let packages =
        ["mariadb-server-core", "mariadb-client-core", "mariadb-client", "bash", "coreutils", "sed", "grep", "hostname"];
    debian_and("mariadb", &packages, MARIADB)
}

/// Debian's PostgreSQL: the server with an empty database in /var/lib/postgresql/data that trusts everybody, and the clients.
pub fn postgres() -> Result<Archive> {
    debian_and("postgres", &["postgresql-15", "postgresql-client-15", "util-linux", "bash", "coreutils"], POSTGRES)
}

/// Debian's Python with what the web application of tests/fixtures/webapp needs.
pub fn webapp() -> Result<Archive> {
    debian("webapp", &["python3", "python3-pymysql", "bash", "coreutils"])
}

/// Debian's sqlmap.
pub fn sqlmap() -> Result<Archive> {
    debian_and("sqlmap", &["sqlmap", "bash", "coreutils"], SQLMAP)
}

/// `packages` and what they need, unpacked without their maintainer scripts; 15 to 30 s the first time.
pub fn debian(name: &str, packages: &[&str]) -> Result<Archive> {
    debian_and(name, packages, "")
}

/// Like [`debian`]; then the shell runs `script`, with the root directory as `$1`.
fn debian_and(name: &str, packages: &[&str], script: &str) -> Result<Archive> {
    let packages = packages.join(",");
    let mut hash = Sha256::new();
    hash.update(&packages);
    hash.update(FINISH);
    hash.update(script);
    cached(name, hash, |archive, reference| {
        println!("making the image {reference} from Debian's packages {packages} (15 to 30 s, once)");
        let dir = tempfile::tempdir_in(archive.parent().context("a directory")?)?;
        let root = dir.path().join("root.tar");
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--variant=extract", "--mode=root", &format!("--include={packages}")]);
        mmdebstrap.arg("--aptopt=Apt::Install-Recommends \"false\"").arg("--aptopt=APT::Sandbox::User \"root\"");
        for what in ["doc", "man", "locale"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{what}/*"));
        }
        mmdebstrap.arg(format!("--extract-hook={FINISH}"));
        if !script.is_empty() {
            mmdebstrap.arg(format!("--extract-hook={script}"));
        }
        mmdebstrap.arg("bookworm").arg(&root);
        let out = mmdebstrap.output().context("starting mmdebstrap; `cargo xtask setup containers` installs it")?;
        if !out.status.success() {
            bail!("mmdebstrap of {packages} ended with {}:\n{}", out.status, String::from_utf8_lossy(&out.stderr));
        }
        Image::new(reference, Root::Tar(root), &["/bin/bash"]).write(archive)
    })
}

/// What maintainer scripts would have done, as far as a server needs it.
const FINISH: &str = r#"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*
printf 'root:x:0:0::/root:/bin/bash\nmysql:x:100:100::/var/lib/mysql:/bin/false\nwww-data:x:33:33::/:/bin/false\nredis:x:101:101::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n' > "$1"/etc/passwd
printf 'root:x:0:\nmysql:x:100:\nwww-data:x:33:\nredis:x:101:\nnogroup:x:65534:\nadm:x:4:\n' > "$1"/etc/group
mkdir -p "$1"/tmp "$1"/run "$1"/proc "$1"/sys "$1"/dev "$1"/var/log/nginx "$1"/var/lib/nginx
chmod 1777 "$1"/tmp
for d in bin sbin lib lib64; do
    [ -L "$1/$d" ] || [ ! -d "$1/$d" ] || {
        mkdir -p "$1/usr/$d"; cp -an "$1/$d/." "$1/usr/$d/" || :; rm -rf "$1/$d"; ln -s "usr/$d" "$1/$d"; }
done
ln -sf bash "$1/usr/bin/sh"
chroot "$1" /sbin/ldconfig || :
"#;

/// An empty database, made once and not at each start. A redo log of 32 MB: each container copies it when it first writes.
const MARIADB: &str = r#"set -e
mkdir -p "$1"/var/lib/mysql
chroot "$1" chown mysql:mysql /var/lib/mysql
printf '[mariadbd]\ninnodb-log-file-size=32M\n' > "$1"/etc/mysql/my.cnf
chroot "$1" mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db --skip-name-resolve --force \
    --auth-root-authentication-method=normal >/dev/null
for name in binlog upgrade check import show plugin; do rm -f "$1"/usr/bin/mariadb-$name; done
"#;

/// An empty database, made once and not at each start.
const POSTGRES: &str = r#"set -e
printf 'postgres:x:102:102::/var/lib/postgresql:/bin/bash
' >> "$1"/etc/passwd
printf 'postgres:x:102:
' >> "$1"/etc/group
mkdir -p "$1"/var/lib/postgresql "$1"/var/run/postgresql
chown -R 102:102 "$1"/var/lib/postgresql "$1"/var/run/postgresql
[ -e "$1"/dev/null ] || mknod -m 666 "$1"/dev/null c 1 3
chroot "$1" setpriv --reuid=102 --regid=102 --clear-groups /usr/lib/postgresql/15/bin/initdb     --pgdata=/var/lib/postgresql/data --auth=trust --no-locale --encoding=UTF8 --no-sync --username=postgres >/dev/null
"#;

/// Byte-compiled here and not at each start.
const SQLMAP: &str = r#"chroot "$1" python3 -m compileall -q /usr/share/sqlmap >/dev/null || :"#;

/// The archive of this recipe; `make` writes it when there is none.
fn cached(name: &str, recipe: Sha256, make: impl FnOnce(&Path, &str) -> Result<()>) -> Result<Archive> {
    let hash: String = recipe.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let dir = cache()?.join("images");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let (path, reference) = (dir.join(format!("{name}-{hash}.tar")), format!("localhost/{name}:test"));
    if !path.exists() {
        make(&path, &reference).with_context(|| format!("making the image {name}"))?;
    }
    Ok(Archive { reference, path })
}

/// `$SURPRISAL_CACHE`, or `~/.cache/surprisal`.
fn cache() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("SURPRISAL_CACHE").filter(|v| !v.is_empty()) {
        return Ok(dir.into());
    }
    Ok(PathBuf::from(env::var_os("HOME").context("neither SURPRISAL_CACHE nor HOME is set")?).join(".cache/surprisal"))
}
