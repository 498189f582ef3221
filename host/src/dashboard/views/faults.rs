//! The last faults of plugins.

use serde_json::{Value, json};

use crate::contract::{RECENT_FAULTS_MAX, recent_faults};

pub(super) fn see() -> Value {
    json!({ "faults": recent_faults(), "most": RECENT_FAULTS_MAX })
}
