//! Fuzz targets of the store: see `crate::fuzz`.

use bennu_semantics::deliveries::DeliveryRow;
use bennu_semantics::jobs::{JobId, JobRow};
use bennu_semantics::lifetime;
use bytes::Bytes;

use super::entry_rows::{entry_row, split};
use super::export_line::ExportLine;
use super::space::{KINDS, Owner, Place, entry_name, split_entry_name};
use super::{ExportReader, StoreLimits, job_rows, metadata};

pub(crate) use super::log::fuzz::log;

/// A row of the tree: the length of its key in the first byte, the key, and the value. What is read of it is written the same.
pub(crate) fn rows(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first() else { return false };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*length)));
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    let (plain, expires) = lifetime::open(value.clone());
    if let Some(expires) = expires {
        assert_eq!(lifetime::seal(&plain, expires), value);
    }
    let _ = (lifetime::is_expired(&value, 1), metadata::number(&value), metadata::plugin_of(&key));
    if let Ok((version, entry)) = split(&value) {
        assert_eq!(entry_row(version, entry), value);
    }
    if let Some(row) = DeliveryRow::decode(value.clone()) {
        assert_eq!(DeliveryRow::decode(row.encode()), Some(row));
    }
    if let Some(row) = JobRow::decode(value) {
        assert_eq!(JobRow::decode(row.encode()), Some(row));
    }
    if let Some((topic, entry)) = split_entry_name(&key) {
        assert!(entry_name(topic, &entry).is_err() || entry_name(topic, &entry).as_ref() == Ok(&key));
    }
    let Some(Place { plugin, kind, name }) = Place::read(&key) else { return false };
    if let Some(id) = job_rows::job_id(&key) {
        assert_eq!(id.name(), JobId::read(plugin.as_str().into(), &name).expect("it was read").name());
    }
    if let Ok(owner) = Owner::new(&plugin, 0) {
        assert!(KINDS.contains(&kind));
        assert_eq!(owner.place(kind, &name), key, "a row is where it is read from");
    }
    true
}

/// The lines of an export. A row that is read is exported as a line that is read the same.
pub(crate) fn export(bytes: &[u8]) -> bool {
    let mut has_row = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(read) = ExportLine::read(line) else { continue };
        if let ExportLine::Row { plugin, kind, name, value } = &read {
            has_row = true;
            let again =
                ExportLine::row(Place { plugin: plugin.clone(), kind: *kind, name: name.clone() }, value.clone());
            let written = again.write().expect("a row that was imported can be exported");
            assert_eq!(ExportLine::read(&written).expect("it was written here"), read);
        }
    }
    let checked = ExportReader::new(bytes, &StoreLimits::default()).check();
    has_row || checked.is_ok()
}
