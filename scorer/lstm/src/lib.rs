//! The scorer's language model at inference speed: an LSTM over classes of calls, fused into one kernel for the vector unit.
//!
//! In: trained weights ([`Weights`]), sequences of classes. Out: the surprisal of each class given those before it and, at
//! the most surprising places, the likeliest classes. Never: learns, reads a file, knows what a class stands for.
//!
//! In data-flow order: [`weights`] checks what training made; `packed` folds and lays it out, once; [`sequence`] is what is
//! asked and answered; `fused` is the kernel, written once for all processors; [`simd`] is the vector unit's vocabulary;
//! [`kernel`] chooses by processor; [`model`] batches sequences.
//!
//! Why it is fast:
//! - Embedding × input weights + both biases is one row of 4 × hidden per class: a table look-up, no multiplication.
//! - The four gates of the same units lie side by side: one tile of the recurrent product is all that the units' new state
//!   needs, so no intermediate result is written to memory.
//! - Sequences are computed side by side: a weight that is loaded serves all rows of a tile.
//! - Int8: hidden states and weights have 8 bits, weights with one scale per output; sums are exact in 32 bits.
//!
//! **Invariant:** what a kernel answers for a sequence does not depend on the sequences beside it.

mod fused;
pub mod kernel;
pub mod model;
mod packed;
pub mod sequence;
pub mod simd;
pub mod weights;

pub use kernel::Kernel;
pub use model::Model;
pub use sequence::{Answer, Ask, Place, Sequence};
pub use weights::{Weights, WeightsError};
