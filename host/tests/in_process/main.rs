//! The host from its Rust interfaces: behaviours that are closures, frames in memory, and mostly paused time.
//!
//! All these tests are one program, because linking one takes seconds.

mod addressed;
mod cluster;
mod durable;
mod durable_entries;
mod elsewhere;
mod entries;
mod follower;
mod formers;
mod history;
mod idempotency;
mod jobs;
mod json;
mod panics;
mod published;
mod rollback;
mod rooms;
mod seats;
mod slow_disk;
mod stored_rollback;
mod storing;
mod support;
mod turns;
mod upgrades;
