//! The tests of the whole. Each starts a host of its own.

mod api;
mod bad_input;
mod call_limits;
mod channels;
mod documents;
mod effects;
mod elsewhere;
mod example;
mod faults;
mod intercepts;
mod kit;
mod layers;
mod lifecycle;
mod limits;
mod logs;
mod longpoll;
mod mounts;
mod refused;
mod reload;
mod scripts;
mod tidy;
mod tokens;
mod transcripts;
mod under_load;
mod walks;
mod wire;
