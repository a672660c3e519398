//! A real Kubernetes node.

use anyhow::Result;
use surprisal_e2e::{
    kubernetes::{Cluster, Found, NODE, Tools},
    skipped,
};

#[test]
fn a_node_comes_up() -> Result<()> {
    let tools = match Tools::find()? {
        Found::Tools(tools) => tools,
        Found::Missing(why) => {
            skipped("kubernetes::a_node_comes_up", &why);
            return Ok(());
        }
    };
    let cluster = Cluster::start(tools)?;
    assert!(cluster.kubectl(&["get", "nodes", "-o", "name"])?.contains(NODE));
    Ok(())
}
