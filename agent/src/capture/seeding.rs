//! What already runs when the agent starts.
//!
//! In: walks of `/proc`. Out: their processes followed in the kernel, and one [`Sighting`] for each container. Never: names one.

use super::error::Error;
use crate::{
    bpf::{
        Kernel,
        seeding::{Ancestor, Member, Seeder},
    },
    identity::{Found, Sighting},
    procfs::walk::{self, Walker},
};

/// Walks at the start: each but the last found somebody new.
const WALKS_MAX: usize = 20;

/// Walks until nobody new is found. Births must be seen from before the first walk on.
pub(super) fn seed(walker: &mut Walker, kernel: &mut Kernel, mut found: impl FnMut(Sighting)) -> Result<(), Error> {
    let mut seeder = Seeder::new(kernel)?;
    for _ in 0..WALKS_MAX {
        let (sightings, again) = once(walker, &mut seeder, kernel)?;
        sightings.into_iter().for_each(&mut found);
        if !again {
            break;
        }
    }
    seeder.finish();
    Ok(())
}

/// One walk. Who is new, and whether another walk is needed.
fn once(walker: &mut Walker, seeder: &mut Seeder, kernel: &mut Kernel) -> Result<(Vec<Sighting>, bool), Error> {
    let walk = walker.walk()?;
    let shim = |tgid: u32| walk.shims.iter().find(|s| s.tgid == tgid);
    let ancestor = |tgid: u32, shim_tgid: u32| {
        shim(shim_tgid).map(|s| Ancestor { tgid, cgroup_id: s.cgroup_id, mnt_ns: s.mnt_ns, shim_tgid })
    };
    let shims = walk.shims.iter().filter_map(|s| ancestor(s.tgid, s.tgid));
    let runtime = walk.runtime.iter().filter_map(|r| ancestor(r.tgid, r.shim_tgid));
    let ancestors: Vec<_> = shims.chain(runtime).collect();
    let member =
        |m: &walk::Member| Member { tgid: m.tgid, key: m.key.0, cgroup_id: m.cgroup_id, mnt_ns: m.mnt_ns, by_exec: m.by_exec };
    let members: Vec<_> = walk.members.iter().map(member).collect();
    let (born, any) = seeder.seed(kernel, &ancestors, &members)?;
    let sighting = |key: u64| {
        walk.members.iter().find(|m| m.key.0 == key).map(|m| Sighting {
            key: m.key,
            cgroup_name: m.container_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            tgid: m.tgid,
            shim_tgid: m.shim_tgid,
            started_at: None,
            found: Found::Walk,
        })
    };
    Ok((born.into_iter().filter_map(sighting).collect(), any))
}
