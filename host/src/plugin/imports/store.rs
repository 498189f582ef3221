//! A plugin's storage.

use wasmtime::Result;

use super::super::bindings::bennu::channel::store::{self, Entry, Order};
use super::super::guest::Guest;
use crate::contract::Fault;

impl store::Host for Guest {
    fn get(&mut self, _key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Err(Fault::failed("no store").into())
    }
    fn scan(&mut self, _s: Option<Vec<u8>>, _e: Option<Vec<u8>>, _o: Order, _l: u32) -> Result<Vec<Entry>> {
        Err(Fault::failed("no store").into())
    }
    fn put(&mut self, _key: Vec<u8>, _value: Vec<u8>) -> Result<()> {
        Err(Fault::failed("no store").into())
    }
    fn delete(&mut self, _key: Vec<u8>) -> Result<()> {
        Err(Fault::failed("no store").into())
    }
}
