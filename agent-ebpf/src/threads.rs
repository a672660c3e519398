//! One buffer a followed thread: having one is what "followed" means.
//!
//! In: tasks. Out: their [`Chunk`]s. Never: decides who is followed.
//!
//! Task storage holds the buffers; the feature `hash-threads` keeps them in a hash map by tid (the kernel's
//! first pid namespace's, which every thread has) instead, for kernels before 5.12. Both have the same four functions.

use crate::kernel::Task;
use core::ptr::NonNull;
use surprisal_agent_ebpf::abi::Chunk;

#[cfg(not(feature = "hash-threads"))]
mod store {
    use super::{Chunk, NonNull, Task};
    use aya_ebpf::{
        bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE},
        helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get},
        macros::btf_map,
    };
    use core::{ffi::c_void, ptr::null_mut};

    // aya-ebpf 0.2 has no task storage: the same layout as its own `SkStorage`.
    #[repr(C)]
    pub(crate) struct TaskStorage {
        r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
        key: *const i32,
        value: *const Chunk,
        max_entries: *const [i32; 0],
        map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
    }

    // SAFETY: a map definition; its pointers are types, never followed.
    unsafe impl Sync for TaskStorage {}

    #[btf_map]
    static THREADS: TaskStorage = TaskStorage {
        r#type: core::ptr::null(),
        key: core::ptr::null(),
        value: core::ptr::null(),
        max_entries: core::ptr::null(),
        map_flags: core::ptr::null(),
    };

    #[inline(always)]
    fn map() -> *mut c_void {
        (&raw const THREADS).cast_mut().cast()
    }

    #[inline(always)]
    pub(crate) fn get(task: Task) -> Option<NonNull<Chunk>> {
        // SAFETY: the verifier knows the map and checks that `task` is one.
        NonNull::new(unsafe { bpf_task_storage_get(map().cast(), task.0.cast_mut().cast(), null_mut(), 0) }.cast())
    }

    /// A zeroed buffer; `None`: no memory.
    #[inline(always)]
    pub(crate) fn create(task: Task) -> Option<NonNull<Chunk>> {
        let flags = u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE);
        // SAFETY: as in `get`.
        NonNull::new(unsafe { bpf_task_storage_get(map().cast(), task.0.cast_mut().cast(), null_mut(), flags) }.cast())
    }

    /// Whether there was one.
    #[inline(always)]
    pub(crate) fn delete(task: Task) -> bool {
        // SAFETY: as in `get`.
        unsafe { bpf_task_storage_delete(map().cast(), task.0.cast_mut().cast()) == 0 }
    }

    /// Task storage stays with its task.
    #[inline(always)]
    pub(crate) fn renamed(_task: Task, _old_tid: u32) {}
}

#[cfg(feature = "hash-threads")]
mod store {
    use super::{Chunk, NonNull, Task};
    use aya_ebpf::{
        macros::map,
        maps::{Array, HashMap},
    };

    #[cfg(not(feature = "raw-tracepoints"))]
    #[map]
    static THREADS: HashMap<u32, Chunk> = HashMap::with_max_entries(32768, 1 /* BPF_F_NO_PREALLOC */);

    /// Kernels before 6.1 warn when a program on a raw tracepoint allocates: 10 MB, once.
    #[cfg(feature = "raw-tracepoints")]
    #[map]
    static THREADS: HashMap<u32, Chunk> = HashMap::with_max_entries(16384, 0);

    /// A chunk is larger than a program's stack: new entries are copied from here. Never written.
    #[map]
    static BLANK: Array<Chunk> = Array::with_max_entries(1, 0);

    #[inline(always)]
    pub(crate) fn get(task: Task) -> Option<NonNull<Chunk>> {
        THREADS.get_ptr_mut(task.global_tid()).and_then(NonNull::new)
    }

    /// A zeroed buffer; `None`: the table is full or there is no memory.
    #[inline(always)]
    pub(crate) fn create(task: Task) -> Option<NonNull<Chunk>> {
        let blank = BLANK.get_ptr(0)?;
        let tid = task.global_tid();
        // SAFETY: a live map value.
        THREADS.insert(tid, unsafe { &*blank }, 0).ok()?;
        THREADS.get_ptr_mut(tid).and_then(NonNull::new)
    }

    /// Whether there was one.
    #[inline(always)]
    pub(crate) fn delete(task: Task) -> bool {
        THREADS.remove(task.global_tid()).is_ok()
    }

    /// A thread that executes a program takes its leader's tid.
    #[inline(always)]
    pub(crate) fn renamed(task: Task, old_tid: u32) {
        let tid = task.global_tid();
        if tid == old_tid {
            return;
        }
        if let Some(old) = THREADS.get_ptr_mut(old_tid) {
            // SAFETY: a live map value; the thread itself is the one running.
            let _ = THREADS.insert(tid, unsafe { &*old }, 0);
            let _ = THREADS.remove(old_tid);
        }
    }
}

pub(crate) use store::{create, delete, get, renamed};
