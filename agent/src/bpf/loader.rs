//! Loads the programs, attaches them, reads their counters.
//!
//! In: [`Options`]. Out: a [`Kernel`] that captures until it is dropped. Never: reads /proc.

use super::{
    btf,
    error::LoadError,
    options::{Capture, Options},
    programs::{LIFECYCLE, PROGRAMS, Runs, attach_tracepoint, iter, load_tracepoint, program_error, run_iterator},
};
use crate::decode::monotonic_ns;
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, RingBuf},
    sys::{Stats, enable_stats},
};
use std::{io, os::fd::OwnedFd};
use surprisal_agent_ebpf::abi::{ContainerState, Lineage, NameTable, NetState, Seed, Totals, globals, maps};

/// Programs that keep threads in task storage.
static TASK_STORAGE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/surprisal-agent.bpf.o"));
/// The same on plain raw tracepoints.
static RAW: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/surprisal-agent-raw.bpf.o"));
/// Programs that keep threads in a hash map.
static HASH: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/surprisal-agent-hash.bpf.o"));

/// Hands on what the kernel side has logged.
pub type KernelLog = Box<dyn FnMut() + Send>;

/// The programs in the kernel. Dropping it detaches and unloads them all.
pub struct Kernel {
    ebpf: Ebpf,
    /// Where threads' buffers live: never [`Capture::Auto`].
    pub capture: Capture,
    containers: HashMap<MapData, u64, ContainerState>,
    namespaces: HashMap<MapData, u32, u64>,
    network: HashMap<MapData, u64, NetState>,
    ignored: HashMap<MapData, u64, u32>,
    names: HashMap<MapData, u64, NameTable>,
    totals: Array<MapData, Totals>,
    /// While it is open, the kernel counts and times runs.
    stats: Option<OwnedFd>,
}

impl Kernel {
    /// Loads everything and attaches nothing.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let loaded = Self::load_as(options);
        give_back_memory();
        let mut kernel = loaded?;
        if options.stats {
            // The last one to close it switches it off: also when the agent is killed.
            kernel.stats = Some(enable_stats(Stats::RunTime).map_err(|e| LoadError::Stats(e.io_error))?);
        }
        Ok(kernel)
    }

    fn load_as(options: &Options) -> Result<Self, LoadError> {
        match options.capture {
            Capture::Hash => Self::load_object(HASH, Capture::Hash, options),
            Capture::Raw => Self::load_object(RAW, Capture::Raw, options),
            Capture::TaskStorage => Self::load_object(TASK_STORAGE, Capture::TaskStorage, options),
            Capture::Auto => match Self::load_object(TASK_STORAGE, Capture::TaskStorage, options) {
                Err(e @ (LoadError::NotEmbedded | LoadError::NotAllowed | LoadError::Btf(_))) => Err(e),
                Err(first) => {
                    let error = &first as &dyn std::error::Error;
                    tracing::info!(error, "this kernel has no task storage for us: a hash map holds threads' buffers");
                    Self::load_object(HASH, Capture::Hash, options)
                        .or_else(|second| {
                            let error = &second as &dyn std::error::Error;
                            tracing::warn!(error, "BTF tracepoints are refused: raw ones are tried");
                            Self::load_object(RAW, Capture::Raw, options)
                        })
                        .map_err(|_last| first)
                }
                ok => ok,
            },
        }
    }

    fn load_object(object: &[u8], capture: Capture, options: &Options) -> Result<Self, LoadError> {
        if object.is_empty() {
            return Err(LoadError::NotEmbedded);
        }
        let types = btf::Btf::of_this_kernel()?;
        let offsets = globals::OFFSETS
            .iter()
            .map(|(global, structure, path)| Ok((*global, types.offset(structure, path)?)))
            .collect::<Result<Vec<(&str, u32)>, btf::Error>>()?;
        let ring = options.ring_bytes.max(4096).checked_next_power_of_two().unwrap_or(1 << 30);
        let (process_only, names_wanted) = (u32::from(options.process_only), u32::from(options.names));
        let wake_bytes = u64::from(ring / 4);
        let log_level = log_level();
        let btf = aya::Btf::from_sys_fs().map_err(LoadError::KernelTypes)?;
        let mut loader = EbpfLoader::new();
        loader.allow_unsupported_maps();
        loader
            .btf(Some(&btf))
            .map_max_entries(maps::EVENTS, ring)
            .override_global(globals::PROCESS_ONLY, &process_only, true)
            .override_global(globals::NAMES_WANTED, &names_wanted, true)
            .override_global(globals::PID_NS, &options.pid_ns, true)
            .override_global(globals::MONITORS, &options.monitors, true)
            .override_global(globals::PEEK_AFTER_NS, &options.peek_after_ns, true)
            .override_global(globals::WAKE_BYTES, &wake_bytes, true)
            .override_global(aya_log::LEVEL, &log_level, false);
        for (global, offset) in &offsets {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = loader.load(object).map_err(|e| match &e {
            EbpfError::MapError(MapError::CreateError { io_error, .. }) if io_error.kind() == io::ErrorKind::PermissionDenied => {
                LoadError::NotAllowed
            }
            _ => LoadError::Load(Box::new(e)),
        })?;
        for program in LIFECYCLE.into_iter().chain(["sys_enter"]) {
            load_tracepoint(&mut ebpf, program, program, &btf)?;
        }
        for program in ["peek", "seed"] {
            iter(&mut ebpf, program)?.load("task", &btf).map_err(program_error("loading", program))?;
        }
        Ok(Self {
            containers: take(&mut ebpf, maps::CONTAINERS)?,
            namespaces: take(&mut ebpf, maps::NAMESPACES)?,
            network: take(&mut ebpf, maps::NETWORK)?,
            ignored: take(&mut ebpf, maps::IGNORED)?,
            names: take(&mut ebpf, maps::NAMES)?,
            totals: take(&mut ebpf, maps::TOTALS)?,
            ebpf,
            capture,
            stats: None,
        })
    }

    /// Attaches what follows membership and connections. From here on births are seen.
    pub fn attach_lifecycle(&mut self) -> Result<(), LoadError> {
        // It notes how deep this agent's pid namespace lies.
        self.run_seed()?;
        for program in LIFECYCLE {
            attach_tracepoint(&mut self.ebpf, program, program)?;
        }
        Ok(())
    }

    /// Attaches the hot path. From here on calls are captured.
    pub fn attach_calls(&mut self) -> Result<(), LoadError> {
        attach_tracepoint(&mut self.ebpf, "sys_enter", "sys_enter")
    }

    /// Attaches an empty program to the hot path's hook and nothing else: what attaching alone costs.
    pub fn attach_empty(&mut self) -> Result<(), LoadError> {
        // Read again, for this one use: kept, the kernel's types would be half of the agent's memory.
        let btf = aya::Btf::from_sys_fs().map_err(LoadError::KernelTypes)?;
        load_tracepoint(&mut self.ebpf, "sys_enter_empty", "sys_enter", &btf)?;
        attach_tracepoint(&mut self.ebpf, "sys_enter_empty", "sys_enter")
    }

    /// The records. Once.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        take(&mut self.ebpf, maps::EVENTS)
    }

    /// The kernel side's own log: each call of what is returned hands on what was written since, as `log` records,
    /// which the agent's tracing output takes up.
    pub fn take_log(&mut self) -> Result<KernelLog, aya_log::Error> {
        let mut log = aya_log::EbpfLogger::init(&mut self.ebpf)?;
        Ok(Box::new(move || log.flush()))
    }

    /// The maps that seeding fills, once.
    pub(super) fn take_seed_maps(&mut self) -> Result<SeedMaps, LoadError> {
        Ok(SeedMaps { lineage: take(&mut self.ebpf, maps::LINEAGE)?, seeds: take(&mut self.ebpf, maps::SEEDS)? })
    }

    pub(super) fn add_container(&mut self, key: u64, state: ContainerState) -> Result<bool, LoadError> {
        const NOEXIST: u64 = 1;
        let fresh = match self.containers.insert(key, state, NOEXIST) {
            Ok(()) => true,
            Err(_) if self.containers.get(&key, 0).is_ok() => false,
            Err(e) => return Err(LoadError::Map { map: maps::CONTAINERS, source: Box::new(e) }),
        };
        if fresh {
            let network = self.network.insert(key, NetState::default(), 0);
            network.map_err(|e| LoadError::Map { map: maps::NETWORK, source: Box::new(e) })?;
            // Full: the container's names are counted as untold.
            let _ = self.names.insert(key, NameTable::EMPTY, 0);
            let namespace = self.namespaces.insert(state.mnt_ns, key, 0);
            namespace.map_err(|e| LoadError::Map { map: maps::NAMESPACES, source: Box::new(e) })?;
        }
        Ok(fresh)
    }

    /// Reports what waits in the buffers of threads that do not fill them. Call it a few times a second.
    pub fn peek(&mut self) -> Result<(), LoadError> {
        run_iterator(&mut self.ebpf, "peek")
    }

    /// Follows every thread of the seeded processes.
    pub(super) fn run_seed(&mut self) -> Result<(), LoadError> {
        run_iterator(&mut self.ebpf, "seed")
    }

    /// A living container's counters.
    pub fn container(&self, key: u64) -> Option<ContainerState> {
        self.containers.get(&key, 0).ok()
    }

    /// Entries in the table of living containers.
    pub fn container_keys(&self) -> Vec<u64> {
        self.containers.keys().filter_map(Result::ok).collect()
    }

    /// A container's TCP counters.
    pub fn network(&self, key: u64) -> Option<NetState> {
        self.network.get(&key, 0).ok()
    }

    /// Stops following a container that is not selected.
    pub fn ignore(&mut self, key: u64) -> Result<(), MapError> {
        self.ignored.insert(key, 1, 0)
    }

    /// A container that was not selected is wanted after all. Its threads are followed again once they are seeded.
    pub fn heed(&mut self, key: u64) {
        // Not there: it was freed with the container's last thread.
        let _ = self.ignored.remove(&key);
    }

    /// Frees what is left of an ended container.
    pub fn forget(&mut self, key: u64) {
        // Not there: it was never counted, or is gone already.
        let _ = self.network.remove(&key);
        let _ = self.ignored.remove(&key);
        let _ = self.names.remove(&key);
        // Still there: it ended between the walk that found it and its entry here, or its end was refused.
        if let Ok(state) = self.containers.get(&key, 0)
            && state.live_threads == 0
        {
            let _ = self.containers.remove(&key);
            if self.namespaces.get(&state.mnt_ns, 0).ok() == Some(key) {
                let _ = self.namespaces.remove(&state.mnt_ns);
            }
        }
    }

    /// Runs of each program; `None`: they are not counted.
    pub fn runs(&self) -> Option<[Runs; PROGRAMS.len()]> {
        self.stats.as_ref()?;
        Some(PROGRAMS.map(|program| {
            let info = self.ebpf.program(program).and_then(|p| p.info().ok());
            info.map_or(Runs { program, ..Runs::default() }, |info| Runs {
                program,
                count: info.run_count(),
                nanoseconds: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
            })
        }))
    }

    /// Counters of no container.
    pub fn totals(&self) -> Totals {
        self.totals.get(&0, 0).unwrap_or_default()
    }

    /// Nanoseconds to add to the kernel's monotonic times to get nanoseconds since the Unix epoch.
    pub fn epoch_offset_ns() -> i128 {
        jiff::Timestamp::now().as_nanosecond() - i128::from(monotonic_ns())
    }
}

/// Maps of the start-up walk.
#[derive(Debug)]
pub(super) struct SeedMaps {
    pub(super) lineage: HashMap<MapData, u32, Lineage>,
    pub(super) seeds: HashMap<MapData, u32, Seed>,
}

/// The kernel's types, read once, leave many small holes behind; an agent that runs for months gives them back.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time; it only returns unused pages.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// The kernel side logs nothing that tracing would not show: aya-log's levels, 1 (error) to 5 (trace).
fn log_level() -> u8 {
    use tracing::level_filters::LevelFilter;
    let level = LevelFilter::current();
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE]
        .iter()
        .position(|l| *l == level)
        .map_or(0, |i| i as u8 + 1)
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, map: &'static str) -> Result<T, LoadError> {
    let taken = ebpf.take_map(map).ok_or(LoadError::Incomplete(map))?;
    T::try_from(taken).map_err(|e| LoadError::Map { map, source: Box::new(e) })
}
