//! The client against servers that behave well, and against hostile ones.

#![allow(clippy::unwrap_used, missing_docs)]

mod answers;
mod bounds;
mod connections;
mod rebinding;
mod redirects;
mod server;
mod tls;
