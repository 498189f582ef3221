//! A component's exports: found by name and checked against the contract. Optional exports may be absent.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::{Instance as Linked, InstancePre};
use wasmtime::{Result, Store};

use super::Anatomy;
use super::bindings::exports::bennu::channel::{
    channel, connect, handle_message, handle_out, handle_seat, handle_tick, handle_topic_info, upgrade, upgrade_entry,
};
use super::guest::Guest;
use crate::contract::Fault;
use crate::routes::Takes;

/// A linked component, with its exports found, that can be instantiated.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) component: InstancePre<Guest>,
    found: Arc<Found>,
}

/// The positions of the exports in the component.
struct Found {
    channel: Option<channel::GuestIndices>,
    handle_out: Option<handle_out::GuestIndices>,
    handle_message: Option<handle_message::GuestIndices>,
    handle_topic_info: Option<handle_topic_info::GuestIndices>,
    handle_tick: Option<handle_tick::GuestIndices>,
    handle_seat: Option<handle_seat::GuestIndices>,
    upgrade: Option<upgrade::GuestIndices>,
    upgrade_entry: Option<upgrade_entry::GuestIndices>,
    connect: Option<connect::GuestIndices>,
}

/// The exports of one instance.
pub(super) struct Exports {
    channel: Option<channel::Guest>,
    handle_out: Option<handle_out::Guest>,
    handle_message: Option<handle_message::Guest>,
    handle_topic_info: Option<handle_topic_info::Guest>,
    handle_tick: Option<handle_tick::Guest>,
    handle_seat: Option<handle_seat::Guest>,
    upgrade: Option<upgrade::Guest>,
    upgrade_entry: Option<upgrade_entry::Guest>,
    connect: Option<connect::Guest>,
}

/// An export whose type isn't the one in the contract.
#[derive(Debug)]
pub(super) struct Misshapen {
    export: &'static str,
    why: String,
}

impl Prepared {
    /// Finds the component's exports.
    ///
    /// # Errors
    /// Returns an error if the type of an export isn't the one in the contract.
    pub(super) fn new(component: InstancePre<Guest>, anatomy: &Anatomy) -> Result<Self, Misshapen> {
        macro_rules! find {
            ($export:ident, $name:literal) => {
                anatomy
                    .exports_interface($name)
                    .then(|| $export::GuestIndices::new(&component).map_err(Misshapen::of($name)))
                    .transpose()?
            };
        }
        let found = Found {
            channel: find!(channel, "channel"),
            handle_out: find!(handle_out, "handle-out"),
            handle_message: find!(handle_message, "handle-message"),
            handle_topic_info: find!(handle_topic_info, "handle-topic-info"),
            handle_tick: find!(handle_tick, "handle-tick"),
            handle_seat: find!(handle_seat, "handle-seat"),
            upgrade: find!(upgrade, "upgrade"),
            upgrade_entry: find!(upgrade_entry, "upgrade-entry"),
            connect: find!(connect, "connect"),
        };
        Ok(Self { component, found: Arc::new(found) })
    }

    pub(super) fn has_handle_out(&self) -> bool {
        self.found.handle_out.is_some()
    }

    pub(super) fn takes(&self, anatomy: &Anatomy, has_grant: bool) -> Takes {
        let Found { handle_message, handle_topic_info, handle_tick, handle_seat, .. } = &*self.found;
        Takes {
            messages: handle_message.is_some(),
            infos: handle_topic_info.is_some(),
            ticks: handle_tick.is_some(),
            seats: handle_seat.is_some(),
            entries: anatomy.imports_interface("entries"),
            http: has_grant && anatomy.imports_interface("http"),
        }
    }

    pub(super) fn has_upgrade(&self) -> bool {
        self.found.upgrade.is_some()
    }

    pub(super) fn has_upgrade_entry(&self) -> bool {
        self.found.upgrade_entry.is_some()
    }

    /// Returns the exports of an instance of the component.
    pub(super) fn exports(&self, store: &mut Store<Guest>, instance: &Linked) -> Result<Exports, Misshapen> {
        macro_rules! load {
            ($export:ident, $name:literal) => {
                self.found
                    .$export
                    .as_ref()
                    .map(|found| found.load(&mut *store, instance).map_err(Misshapen::of($name)))
                    .transpose()?
            };
        }
        Ok(Exports {
            channel: load!(channel, "channel"),
            handle_out: load!(handle_out, "handle-out"),
            handle_message: load!(handle_message, "handle-message"),
            handle_topic_info: load!(handle_topic_info, "handle-topic-info"),
            handle_tick: load!(handle_tick, "handle-tick"),
            handle_seat: load!(handle_seat, "handle-seat"),
            upgrade: load!(upgrade, "upgrade"),
            upgrade_entry: load!(upgrade_entry, "upgrade-entry"),
            connect: load!(connect, "connect"),
        })
    }
}

impl Exports {
    pub(super) fn channel(&self) -> Result<&channel::Guest, Fault> {
        self.channel.as_ref().ok_or_else(missing("channel"))
    }

    pub(super) fn handle_out(&self) -> Result<&handle_out::Guest, Fault> {
        self.handle_out.as_ref().ok_or_else(missing("handle-out"))
    }

    pub(super) fn handle_message(&self) -> Result<&handle_message::Guest, Fault> {
        self.handle_message.as_ref().ok_or_else(missing("handle-message"))
    }

    pub(super) fn handle_topic_info(&self) -> Result<&handle_topic_info::Guest, Fault> {
        self.handle_topic_info.as_ref().ok_or_else(missing("handle-topic-info"))
    }

    pub(super) fn handle_tick(&self) -> Result<&handle_tick::Guest, Fault> {
        self.handle_tick.as_ref().ok_or_else(missing("handle-tick"))
    }

    pub(super) fn handle_seat(&self) -> Result<&handle_seat::Guest, Fault> {
        self.handle_seat.as_ref().ok_or_else(missing("handle-seat"))
    }

    pub(super) fn upgrade(&self) -> Result<&upgrade::Guest, Fault> {
        self.upgrade.as_ref().ok_or_else(missing("upgrade"))
    }

    pub(super) fn upgrade_entry(&self) -> Result<&upgrade_entry::Guest, Fault> {
        self.upgrade_entry.as_ref().ok_or_else(missing("upgrade-entry"))
    }

    pub(super) fn connect(&self) -> Result<&connect::Guest, Fault> {
        self.connect.as_ref().ok_or_else(missing("connect"))
    }
}

fn missing(export: &'static str) -> impl FnOnce() -> Fault {
    move || Fault::failed(format!("the component doesn't export `{export}`"))
}

impl Misshapen {
    /// Makes an error from wasmtime's error about this export.
    fn of(export: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self { export, why: format!("{error:#}") }
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { export, why } = self;
        write!(
            f,
            "its export `{export}` does not have the type that `wit/` declares: {why}; build it against this host's `wit/`"
        )
    }
}

impl std::error::Error for Misshapen {}
