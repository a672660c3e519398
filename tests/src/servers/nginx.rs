//! An nginx server with static files, pages made by a Perl handler and a staff area, and its customers.
//!
//! In: a containerd and a network namespace. Out: a shop on 127.0.0.1:8080 (tests/fixtures/attacks/nginx: nginx.conf, and
//! Shop.pm, which says what its two weaknesses are), with customers who come and go. Never: reached from outside the
//! namespace.

use super::Load;
use crate::{Container, Containerd, Netns, Run, images};
use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf, time::Duration};

const CONFIGURATION: &str = include_str!("../../fixtures/attacks/nginx/nginx.conf");
const HANDLERS: &str = include_str!("../../fixtures/attacks/nginx/Shop.pm");
const CUSTOMERS: &str = include_str!("../../fixtures/attacks/nginx/load.py");
/// staff:opensesame
const PASSWORDS: &str = "staff:$apr1$shopsalt$50P//UeWDPK/3Pg5ZrHga1\n";
/// What Debian's maintainer scripts and logrotate do: the logs belong to the workers.
const START: &str = "touch /var/log/nginx/access.log /var/log/nginx/error.log
chown -R www-data /var/log/nginx
exec nginx -c /srv/nginx.conf";

/// A running server.
#[derive(Debug)]
pub struct Nginx {
    /// Its container.
    pub container: Container,
    containerd: Containerd,
    network: PathBuf,
    directory: PathBuf,
}

impl Nginx {
    /// Where it listens, inside the namespace.
    pub const PORT: u16 = 8080;

    /// Starts one as container `id`.
    pub fn start(containerd: &Containerd, network: &Netns, id: &str) -> Result<Self> {
        let image = images::debian("nginx-perl", &["nginx", "libnginx-mod-http-perl", "bash", "coreutils"])?;
        containerd.import(&image)?;
        let directory = containerd.scratch().path().join(id);
        let files: [(&str, Vec<u8>); 12] = [
            ("nginx.conf", CONFIGURATION.into()),
            ("htpasswd", PASSWORDS.into()),
            ("load.py", CUSTOMERS.into()),
            ("perl/Shop.pm", HANDLERS.into()),
            ("pages/home", b"<h1>Welcome</h1>\n".to_vec()),
            ("pages/about", b"<p>Since 1921.</p>\n".repeat(40)),
            ("pages/terms", b"<p>All sales are final.</p>\n".repeat(400)),
            ("pages/help", b"<p>Call us.</p>\n".to_vec()),
            ("www/static/style.css", b"p { margin: 1em }\n".repeat(50)),
            ("www/static/logo.png", vec![7; 9_000]),
            ("www/static/photo.jpg", vec![9; 180_000]),
            ("www/admin/orders.html", b"<tr><td>1</td></tr>\n".repeat(100)),
        ];
        for (name, bytes) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        let run = Run::new(id, &image, &["bash", "-c", START]).netns(&network.path()).mount(&directory, "/srv");
        let container = containerd.run(&run)?;
        Ok(Self { container, containerd: containerd.clone(), network: network.path(), directory })
    }

    /// Sends `customers` customers from container `id`, each with a seed of its own.
    pub fn customers(&self, id: &str, customers: u32) -> Result<Load> {
        let image = images::python()?;
        self.containerd.import(&image)?;
        let customers = customers.to_string();
        let run = Run::new(id, &image, &["python3", "/srv/load.py", &customers]).netns(&self.network);
        let container = self.containerd.run(&run.mount(&self.directory, "/srv"))?;
        container.wait_for_log("customers are here", Duration::from_secs(30));
        Ok(Load::new(container))
    }
}
