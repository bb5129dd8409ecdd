//! The client against servers on loopback that are written out by hand, byte for byte where it
//! matters.
#![cfg(feature = "client")]

mod bodies;
mod connecting;
mod heads;
mod http2;
mod pool;
mod proxies;
mod requests;
mod support;
mod tls;
