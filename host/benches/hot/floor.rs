//! The minimum cost of a call: the same function is called with the same arguments and configuration, directly with
//! wasmtime.

use bytes::Bytes;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline};

use self::bennu::channel::types::{Membership, PayloadParam};
use super::stage::{PAYLOAD, now};

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package bennu:bench;

        world called {
            export bennu:channel/channel@0.1.0;
        }
    ",
    world: "bennu:bench/called",
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// An instance of the component, without the host.
pub(crate) struct Floor {
    store: Store<()>,
    called: Called,
}

impl Floor {
    pub(crate) fn new(component: &Bytes) -> anyhow::Result<Self> {
        let mut config = Config::new();
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(1).total_core_instances(8).total_memories(1).total_tables(8).total_stacks(1);
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .epoch_interruption(true)
            .concurrency_support(false);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let mut store = Store::new(&engine, ());
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store.set_epoch_deadline(1);
        let called = now(Called::instantiate_async(&mut store, &component, &linker))?;
        Ok(Self { store, called })
    }

    pub(crate) fn call(&mut self, event: &str) {
        let membership = Membership { id: 1, topic: "echo:lobby", assigns: b"\x81\xa5count\x00", room: None };
        let payload = PayloadParam::Json(PAYLOAD);
        self.store.set_epoch_deadline(1);
        let called = self.called.bennu_channel_channel().call_handle_in(
            &mut self.store,
            membership,
            event,
            payload,
            Some("\"2\""),
        );
        now(called).expect("the call succeeds").expect("an outcome");
    }
}
