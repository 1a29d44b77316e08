//! What the benches have in common: servers in processes of their own, the load on them, and the table of figures.

pub(crate) mod contestant;
pub(crate) mod load;
pub(crate) mod progress;
pub(crate) mod slice;
pub(crate) mod verdict;
