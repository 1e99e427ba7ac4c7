//! Tier 1, entries in the server's shared memory, and the single flight: what is found there is right and never outlives what it was computed for,
//! one session computes what many ask for, and whatever becomes of backends, nothing is left of them.

mod backends;
mod copies;
mod entries;
mod eviction;
mod flight;
mod flight_ends;
mod forgetting;
mod memory;
mod old_snapshots;
mod scene;
mod sessions;
mod sizes;
