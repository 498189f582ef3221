//! Rollouts of plugins: single cases, all orders of the steps of two nodes, and many nodes and plugins at random.
//!
//! What is tested is the pure part that each node runs: offers, decisions, and the steps of a node. The registry is the one of the
//! model: records with a revision, and reports.

mod cases;
mod orders;
mod random;
mod world;
