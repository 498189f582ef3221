//! The parts of the protocols that the measuring clients and the floor need.

pub(crate) mod engine;
pub(crate) mod frame;
pub(crate) mod phoenix;
pub(crate) mod upgrade;
