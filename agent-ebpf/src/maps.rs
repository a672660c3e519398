//! The maps. Names and value layouts are in the library's `abi`; sizes here are defaults that the loader may change.
//!
//! **Invariant:** every map is bounded; what a full map refuses is counted by whoever tried.

use crate::kernel;
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use surprisal_agent_ebpf::abi::{ContainerState, Lineage, Name, NameTable, NetState, Seed, Totals};

/// Records for user space. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Container key → counters.
#[map]
pub(crate) static CONTAINERS: HashMap<u64, ContainerState> = HashMap::with_max_entries(8192, 0);

/// Mount namespace → container key.
#[map]
pub(crate) static NAMESPACES: HashMap<u32, u64> = HashMap::with_max_entries(8192, 0);

/// Containers that nobody wants.
#[map]
pub(crate) static IGNORED: LruHashMap<u64, u32> = LruHashMap::with_max_entries(8192, 0);

/// Container key → which names were told. Beyond so many containers, those of the others are not told.
#[map]
pub(crate) static NAMES: HashMap<u64, NameTable> = HashMap::with_max_entries(2048, 0);

/// A new container's. Never written.
#[map]
pub(crate) static NO_NAMES: Array<NameTable> = Array::with_max_entries(1, 0);

/// Where a name is put together.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Name> = PerCpuArray::with_max_entries(1, 0);

/// Container key → TCP counters.
#[map]
pub(crate) static NETWORK: HashMap<u64, NetState> = HashMap::with_max_entries(8192, 0);

/// Shims, and what descends from them outside of containers.
#[map]
pub(crate) static LINEAGE: HashMap<u32, Lineage> = HashMap::with_max_entries(16384, 0);

/// Processes that user space found when it started.
#[map]
pub(crate) static SEEDS: HashMap<u32, Seed> =
    HashMap::with_max_entries(65536, 1 /* BPF_F_NO_PREALLOC: empty but at the start */);

/// TCP sockets on their way to a connection. Old ones fall out: an attempt lives for minutes at most.
#[map]
pub(crate) static SOCKETS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16384, 0);

/// (network namespace << 16 | port) → container key.
#[map]
pub(crate) static LISTENERS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16384, 0);

/// Whether half of the ring is unread.
#[inline(always)]
pub(crate) fn is_half_full() -> bool {
    EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= 2 * kernel::wake_bytes()
}

/// Wakes the reader when a good part of the ring is unread; until then it comes by on its own.
#[inline(always)]
pub(crate) fn wake() -> u64 {
    let flag =
        if EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= kernel::wake_bytes() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    u64::from(flag)
}

/// Counters of no container.
#[map]
pub(crate) static TOTALS: Array<Totals> = Array::with_max_entries(1, 0);

/// The one [`Totals`], to add to.
#[inline(always)]
pub(crate) fn totals() -> Option<*mut Totals> {
    TOTALS.get_ptr_mut(0)
}

/// Adds to a counter that other processors add to as well.
///
/// # Safety
/// `counter` points at a live, aligned map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, n: u64) {
    // The BPF target has no compare-and-swap, so core gives its atomics no methods; the intrinsic is what they call.
    // SAFETY: the caller's promise; the sum is not used, so this is the plain atomic add of every kernel from 5.8 on.
    unsafe { core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(counter, n) };
}
