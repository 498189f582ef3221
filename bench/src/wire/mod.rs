//! What goes over the wire, as far as a client that only counts and a server that only passes on have to know it.

pub(crate) mod engine;
pub(crate) mod frame;
pub(crate) mod phoenix;
pub(crate) mod upgrade;
