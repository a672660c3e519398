//! The scorer as it is run: the binary, over real gRPC on loopback, fed by an agent that we play.
#![forbid(unsafe_code)]

mod advise;
mod agent;
mod cli;
mod hostile;
mod load;
mod scorer;
mod scoring;
mod vocabulary;
mod wire;
