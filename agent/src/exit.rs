//! Exit codes, as the README documents them. The same for every program of this project.

/// All went well.
pub const OK: u8 = 0;
/// Something failed while running.
pub const FAILED: u8 = 1;
/// Bad command line.
pub const USAGE: u8 = 2;
/// Bad configuration.
pub const CONFIG: u8 = 64;
/// Bad input: damaged, truncated or of another version.
pub const DATA: u8 = 65;
/// A service that is needed cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// Rights are missing.
pub const RIGHTS: u8 = 77;
/// This kernel or host cannot do it.
pub const HOST: u8 = 78;
