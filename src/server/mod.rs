//! The front: accept loop, limits, headers, documentation pages.
