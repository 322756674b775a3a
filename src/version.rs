//! The version says what this program is, with the commit that it was built from.

/// The version in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The first twelve digits of the commit, `-dirty` behind them where the sources had changed since, or what
/// the builder said; `unknown` without git (`scripts/build.rs`).
pub const COMMIT: &str = env!("LYFTR_COMMIT");
