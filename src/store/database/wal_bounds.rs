//! The bounds of a write-ahead log are the lengths at which ever more is done to have it restart.

/// The lengths, in bytes, at which more is done.
#[derive(Debug)]
pub struct WalBounds {
    /// Worth waking the thread that moves it.
    pub background: u64,
    /// Whoever commits moves the rest, so that it restarts if nobody reads it just now.
    pub passive: u64,
    /// So much more until that is tried again; a checkpoint of it takes some milliseconds.
    pub step: u64,
    /// New queries wait for those that are running.
    pub restart: u64,
    /// Long queries are given up, and the next transaction waits.
    pub most: u64,
}

/// Of the database. Every sync of a file that grows has more to write than its data, and takes half as long
/// again: so the log is long, and then restarts. At twice these lengths commits were no faster.
pub const DATABASE: WalBounds =
    WalBounds { background: 32 << 20, passive: 64 << 20, step: 4 << 20, restart: 80 << 20, most: 96 << 20 };

/// Of the index, which is not synced at each commit. Whoever writes it can wait: queries are held only at
/// the end, and none is given up for it.
pub const INDEX: WalBounds =
    WalBounds { background: 16 << 20, passive: 16 << 20, step: 4 << 20, restart: 32 << 20, most: 32 << 20 };

const _: () = {
    let mut all = [&DATABASE, &INDEX].as_slice();
    while let [bounds, rest @ ..] = all {
        assert!(bounds.background <= bounds.passive && bounds.step < bounds.passive);
        assert!(bounds.passive < bounds.restart && bounds.restart <= bounds.most);
        all = rest;
    }
};
