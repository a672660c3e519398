//! What learns, and with it libtorch: no other crate links it.
//!
//! In: recordings and data sets as the scorer's crate reads them. Out: profiles, and what our model says among other methods.
//! Never: serves; the scorer judges with `surprisal-lstm`, which tests here pin to [`lstm`].
//!
//! [`lstm`] is the model through tch; [`teach`] makes a profile of a workload's windows; [`ours`] is the same as a method for
//! `evaluate`; [`run`] does the commands. The binary, `surprisal-learn`, is what `surprisal-scorer train` and `evaluate` become.
#![forbid(unsafe_code)]

pub mod lstm;
pub mod ours;
pub mod run;
pub mod teach;
