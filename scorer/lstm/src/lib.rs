//! The scorer's language model at speed: an LSTM over classes of calls, fused into one kernel for the vector unit.
//!
//! In: trained weights ([`Weights`]), sequences of classes. Out: the surprisal of each class after those before it, and at
//! the most surprising places what was likelier. Never: learns, reads a file, knows what a class stands for.
//!
//! In data-flow order: [`weights`] checks what training made; `packed` folds and lays it out, once; `fused` computes, in one
//! text for all processors; [`simd`] says what a vector unit is; [`model`] puts sequences side by side; [`kernel`] chooses.
//!
//! How it is fast (after the prototype that the project's design names):
//! - Embedding times input weights plus both biases is one row of 4 × hidden for each class: a table, no multiplication.
//! - The four gates of the same units lie side by side, so that a tile of the recurrent product is at once all that the
//!   units' new state needs: nothing of it is written to memory.
//! - Sequences lie side by side: a weight that is loaded serves all rows of a tile.
//! - Int8: hidden states are 8 bits, weights 8 bits with one scale for each output; sums are exact in 32 bits.
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
