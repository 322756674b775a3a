//! A priority is the queue in which a request waits for a thread of the pool; `server::priorities` says which is next.

use crate::labels::labels;

labels! {
    /// The queues of the pool.
    Priority {
        Probe = "probe",
        /// What is posted.
        Ingest = "ingest",
        /// What costs next to nothing.
        Immediate = "immediate",
        /// A body so large that it is taken apart by itself.
        Bulk = "bulk",
        Feed = "feed",
        Scrape = "scrape",
        /// A query.
        Read = "read",
    }
}
