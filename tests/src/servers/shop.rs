//! Small web shops, each with one weakness: on Apache with a CGI script, on Node.js, on Java; and their visitors.
//!
//! In: a containerd and a network namespace. Out: a shop on 127.0.0.1:8080 (tests/fixtures/attacks/{apache,node,java}, which say what
//! their weaknesses are), with visitors who come and go. Never: reached from outside the namespace.

use super::{Load, mariadb::import_once, wait_for_log};
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::{Context as _, Result};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

const VISITORS: &str = include_str!("../../fixtures/attacks/visitors.py");
/// Pages of every shop.
const PAGES: [(&str, &str, usize); 4] = [
    ("home", "<h1>Welcome</h1>\n", 1),
    ("about", "<p>Since 1921.</p>\n", 40),
    ("terms", "<p>All sales are final.</p>\n", 400),
    ("help", "<p>Call us.</p>\n", 1),
];

/// What a shop stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shop {
    /// Apache with a CGI script that calls the shell.
    Apache,
    /// Node.js, which calls functions in a cookie.
    Node,
    /// Java, which reads an object out of a cookie.
    Java,
}

impl Shop {
    /// `apache`, `node`, `java`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Node => "node",
            Self::Java => "java",
        }
    }

    fn image(self) -> Result<images::Archive> {
        let packages: &[&str] = match self {
            Self::Apache => &["apache2", "bash", "coreutils"],
            Self::Node => &["nodejs", "bash", "coreutils"],
            Self::Java => &["openjdk-17-jdk-headless", "bash", "coreutils"],
        };
        images::debian(self.name(), packages)
    }

    /// What runs in it, from its directory at /srv.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Apache => &["apache2", "-d", "/srv", "-f", "/srv/apache.conf", "-DFOREGROUND"],
            Self::Node => &["node", "--max-old-space-size=64", "/srv/app.js"],
            // Few threads of its own, and little memory.
            Self::Java => &[
                "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "/srv/Shop.java",
            ],
        }
    }

    /// Its program's files: name, contents, mode.
    fn files(self) -> &'static [(&'static str, &'static str, u32)] {
        match self {
            Self::Apache => &[
                ("apache.conf", include_str!("../../fixtures/attacks/apache/apache.conf"), 0o644),
                ("cgi/size", include_str!("../../fixtures/attacks/apache/size"), 0o755),
            ],
            Self::Node => &[("app.js", include_str!("../../fixtures/attacks/node/app.js"), 0o644)],
            Self::Java => &[("Shop.java", include_str!("../../fixtures/attacks/java/Shop.java"), 0o644)],
        }
    }

    /// What visitors ask for; `N` is a number.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Apache => &["/home", "/about", "/terms", "/help", "/gone", "/cgi/size?page=terms", "/cgi/size?page=gone"],
            Self::Node => {
                &["/page?name=home", "/page?name=about", "/page?name=terms", "/page?name=gone", "/item?id=N", "/item?id=N"]
            }
            Self::Java => &["/page?name=home", "/page?name=about", "/page?name=terms", "/page?name=gone", "/cart"],
        }
    }

    /// Starts one as container `id`; waits until it answers.
    pub fn start(self, containerd: &Containerd, network: &Netns, id: &str) -> Result<Container> {
        let image = self.image()?;
        import_once(containerd, &image)?;
        let directory = containerd.scratch().path().join(id);
        let write = |name: &str, text: String, mode: u32| {
            let path: PathBuf = directory.join(name);
            fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(|| format!("chmod of {}", path.display()))
        };
        for (name, text, mode) in self.files() {
            write(name, (*text).to_owned(), *mode)?;
        }
        write("visitors.py", VISITORS.to_owned(), 0o644)?;
        let pages = if self == Self::Apache { "www" } else { "pages" };
        for (name, line, times) in PAGES {
            write(&format!("{pages}/{name}"), line.repeat(times), 0o644)?;
        }
        let run = Run::new(id, &image, self.command()).netns(&network.path()).mount(&directory, "/srv");
        let container = containerd.run(&run)?;
        if self != Self::Apache {
            wait_for_log(&container, "serving", Duration::from_mins(1))?;
        }
        Ok(container)
    }

    /// Starts its visitors in container `id-visitors`.
    pub fn visitors(self, containerd: &Containerd, network: &Netns, id: &str) -> Result<Load> {
        let python = images::python()?;
        import_once(containerd, &python)?;
        let directory = containerd.scratch().path().join(id);
        let mut command = vec!["python3", "/srv/visitors.py", "3"];
        command.extend(self.paths());
        let visitors = Run::new(&format!("{id}-visitors"), &python, &command).netns(&network.path()).mount(&directory, "/srv");
        let visitors = containerd.run(&visitors)?;
        wait_for_log(&visitors, "visitors are here", Duration::from_secs(30))?;
        Ok(Load::new(visitors))
    }
}
