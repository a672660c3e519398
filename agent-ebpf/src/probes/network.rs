//! TCP connections, counted for the container that opens or accepts them.
//!
//! In: `inet_sock_set_state`. Out: counters in NETWORK. Never: addresses or payload, beyond one hash.
//!
//! An attempt begins in the container's own thread; it ends in whatever context the network runs in, so the
//! socket remembers its container. An accepted connection belongs to whoever listens on its port.

use crate::{
    kernel::{Sock, Task},
    maps::{self, LISTENERS, NETWORK, SOCKETS},
    probes::context::Context,
    threads,
};
use surprisal_agent_ebpf::abi::{NetState, REMOTE_WORDS};

const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;

// (const struct sock *sk, const int oldstate, const int newstate)
#[cfg_attr(not(feature = "raw-tracepoints"), aya_ebpf::macros::btf_tracepoint(function = "inet_sock_set_state"))]
#[cfg_attr(feature = "raw-tracepoints", aya_ebpf::macros::raw_tracepoint(tracepoint = "inet_sock_set_state"))]
pub(crate) fn inet_sock_set_state(ctx: Context) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let id = sk as u64;
    match (old, new) {
        (CLOSE, SYN_SENT) => {
            let Some(container) = current_container() else { return 0 };
            let _ = SOCKETS.insert(id, container, 0);
            if let Some(net) = NETWORK.get_ptr_mut(container) {
                // SAFETY: a live map value. A bit that two processors set at once may be lost: the count is an estimate.
                unsafe {
                    maps::add(&raw mut (*net).attempted, 1);
                    let hash = Sock(sk).remote_hash();
                    let word = (hash >> 6) as usize & (REMOTE_WORDS - 1);
                    (*net).remotes[word] |= 1 << (hash & 63);
                }
            }
        }
        (SYN_SENT, ESTABLISHED) => finished(id, |net| &raw mut net.established),
        (SYN_SENT, CLOSE) => finished(id, |net| &raw mut net.failed),
        (CLOSE, LISTEN) => {
            if let Some(container) = current_container() {
                let _ = LISTENERS.insert(listener(sk), container, 0);
            }
        }
        (LISTEN, CLOSE) => {
            let _ = LISTENERS.remove(listener(sk));
        }
        (SYN_RECV, ESTABLISHED) => {
            if let Some(container) = LISTENERS.get_ptr(listener(sk)) {
                // SAFETY: a live map value.
                count(unsafe { *container }, |net| &raw mut net.accepted);
            }
        }
        _ => {}
    }
    0
}

#[inline(always)]
fn finished(id: u64, counter: impl Fn(&mut NetState) -> *mut u64) {
    if let Some(container) = SOCKETS.get_ptr(id) {
        // SAFETY: a live map value.
        count(unsafe { *container }, counter);
        let _ = SOCKETS.remove(id);
    }
}

#[inline(always)]
fn count(container: u64, counter: impl Fn(&mut NetState) -> *mut u64) {
    if let Some(net) = NETWORK.get_ptr_mut(container) {
        // SAFETY: a live map value.
        unsafe { maps::add(counter(&mut *net), 1) };
    }
}

#[inline(always)]
fn listener(sk: *const u8) -> u64 {
    u64::from(Sock(sk).net_ns()) << 16 | u64::from(Sock(sk).port())
}

#[inline(always)]
fn current_container() -> Option<u64> {
    // SAFETY: the current thread's buffer.
    threads::get(Task::current()).map(|chunk| unsafe { (*chunk.as_ptr()).container })
}
