//! A fused inference kernel for the scorer's language model.
