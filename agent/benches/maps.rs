//! How many entries an agent's maps in the kernel have: what a soak watches.
//!
//! In: an agent's process id. Out: one line of JSON for each line on stdin: entries by map, for the hash maps that the agent
//! does not bound by forgetting the oldest. Never: changes a map; part of the product.

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapInfo},
};
use std::{collections::BTreeMap, fs, io};
use surprisal_agent_ebpf::abi::{Chunk, ContainerState, Lineage, NetState, Seed, maps};

/// A map, ready to be counted.
type Count = Box<dyn Fn() -> usize>;

fn main() -> Result<()> {
    let pid: u32 = std::env::args().nth(1).context("an agent's process id is missing")?.parse().context("no process id")?;
    let maps = maps_of(pid)?;
    ensure!(!maps.is_empty(), "process {pid} holds no map of an agent");
    for line in io::stdin().lines() {
        line?;
        let entries: BTreeMap<_, _> = maps.iter().map(|(name, count)| (name, count())).collect();
        println!("{}", serde_json::to_string(&entries)?);
    }
    Ok(())
}

/// The maps that the process has open, by name.
fn maps_of(pid: u32) -> Result<BTreeMap<String, Count>> {
    let dir = format!("/proc/{pid}/fdinfo");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("reading {dir}"))? {
        // A descriptor may be closed between.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let Some(id) = text.lines().find_map(|l| l.strip_prefix("map_id:")?.trim().parse().ok()) else { continue };
        let info = MapInfo::from_id(id)?;
        let name = info.name_as_str().unwrap_or_default().to_owned();
        let count = match name.as_str() {
            maps::CONTAINERS => count::<u64, ContainerState>(id)?,
            maps::NAMESPACES => count::<u32, u64>(id)?,
            maps::NETWORK => count::<u64, NetState>(id)?,
            maps::LINEAGE => count::<u32, Lineage>(id)?,
            maps::SEEDS => count::<u32, Seed>(id)?,
            // With a hash map for threads; task storage goes with its task.
            maps::THREADS => match count::<u32, Chunk>(id) {
                Ok(count) => count,
                Err(_) => continue,
            },
            _ => continue,
        };
        found.insert(name, count);
    }
    Ok(found)
}

fn count<K: Pod + 'static, V: Pod + 'static>(id: u32) -> Result<Count> {
    let map @ Map::HashMap(_) = Map::from_map_data(MapData::from_id(id)?)? else { bail!("map {id} is no hash map") };
    let map = HashMap::<MapData, K, V>::try_from(map)?;
    // An entry that goes while it is looked at ends the walk early; the next look is right.
    Ok(Box::new(move || map.keys().flatten().count()))
}
