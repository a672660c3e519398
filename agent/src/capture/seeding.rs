//! What already runs when the agent starts, or when a container is to be followed again.
//!
//! In: walks of `/proc`. Out: their processes followed in the kernel, and one [`Sighting`] for each container. Never: names one.

use super::error::Error;
use crate::{
    bpf::{
        Kernel,
        seeding::{Ancestor, Member, Seeder},
    },
    container::ContainerKey,
    identity::{Found, Sighting},
    procfs::walk::{self, Walker},
};

/// Walks at a time: each but the last found somebody new.
const WALKS_MAX: usize = 20;

/// Walks, and what it walks with.
#[derive(Debug)]
pub(super) struct Seeding {
    walker: Walker,
    seeder: Seeder,
}

impl Seeding {
    /// Takes what it needs of the kernel side. Once per [`Kernel`].
    pub(super) fn new(walker: Walker, kernel: &mut Kernel) -> Result<Self, Error> {
        Ok(Self { walker, seeder: Seeder::new(kernel)? })
    }

    /// Walks until nobody new is found. Births must be seen from before the first walk on.
    pub(super) fn all(&mut self, kernel: &mut Kernel, found: impl FnMut(Sighting)) -> Result<(), Error> {
        self.walks(kernel, &|_| true, found)
    }

    /// The same for these containers alone, which are known.
    pub(super) fn again(&mut self, kernel: &mut Kernel, keys: &[ContainerKey]) -> Result<(), Error> {
        self.walks(kernel, &|key| keys.contains(&key), drop)
    }

    fn walks(
        &mut self,
        kernel: &mut Kernel,
        wanted: &dyn Fn(ContainerKey) -> bool,
        mut found: impl FnMut(Sighting),
    ) -> Result<(), Error> {
        for _ in 0..WALKS_MAX {
            let (sightings, again) = once(&mut self.walker, &mut self.seeder, kernel, wanted)?;
            sightings.into_iter().for_each(&mut found);
            if !again {
                break;
            }
        }
        self.seeder.finish();
        Ok(())
    }
}

/// One walk. Who is new, and whether another walk is needed.
fn once(
    walker: &mut Walker,
    seeder: &mut Seeder,
    kernel: &mut Kernel,
    wanted: &dyn Fn(ContainerKey) -> bool,
) -> Result<(Vec<Sighting>, bool), Error> {
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
    let members: Vec<_> = walk.members.iter().filter(|m| wanted(m.key)).map(member).collect();
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
