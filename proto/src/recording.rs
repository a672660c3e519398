//! Recordings: JSON Lines, version 2; version 1, which has no names, is read too.
//!
//! In: [`Line`]s. Out: text, and the same lines again. Never: opens a file, rotates, interprets calls.
//!
//! A recording is one JSON object a line, told apart by `"type"`:
//!
//! | type | when | fields |
//! |---|---|---|
//! | `header` | first line, once | `version` (2), `abi`, `token_layout`, `node`, `label`, `created_at` |
//! | `container` | before the container's first calls | `id`, `node`, and [`Names`](crate::container::Names) that are not empty |
//! | `name` | when it is new for its container | `at`, `container`, `pid`, `tid`, `seq`, `call`, `name`, `argv0`, `relative`, `truncated`, `late` |
//! | `calls` | one run of consecutive calls of one thread | `at`, `node`, `container` (id), `pod`, `pid`, `tid`, `process`, `seq`, `gap`, `calls`, `last` |
//! | `account` | now and then, and at a container's end | `container`, `issued`, `delivered`, `lost`, `threads_untracked` |
//! | `death` | a container's end | `container`, `at` |
//! | `end` | last line, once | `lines` before it, `calls` in them |
//!
//! `calls` holds names; a call whose scalar arguments have a class is `name:class` (`openat:15`), so that
//! a recording reads back losslessly. `seq` is the number of the first call in its thread, from 0; `gap` is
//! how many calls directly before it are known lost. A file that a full disk or a kill cut short has no
//! `end` and is refused as truncated, unless the reader is told to take what is there.

mod line;
mod reader;
mod writer;

pub use crate::container::Container;
pub use line::{Account, Calls, Death, End, Header, Line, Name, OLDEST, VERSION};
pub use reader::{ReadError, Reader};
pub use writer::Writer;

#[cfg(test)]
mod tests;
