//! What a failed statement means.

use tokio_postgres::Error;

use super::connect::{Connect, ConnectError};
use crate::bus::BusError;
use crate::rollout::RegistryError;
use crate::table::TableError;

/// The error code of the fence: the node counts as dead.
const FENCED: &str = "BN010";

/// The kinds of errors of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no answer, or the server can't work now: it stops, it has become a standby, or it lacks memory or space.
    Down,
    /// The node counts as dead.
    Fenced,
    /// The statement has no effect, and the same one will fail again.
    Refused,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        let Some(answer) = error.as_db_error() else { return Self::Down };
        Self::of_code(answer.code().code())
    }

    fn of_code(code: &str) -> Self {
        // 25006: the server has become read-only. 57014: somebody has cancelled the statement.
        let is_passing = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006";
        match code {
            FENCED => Self::Fenced,
            _ if is_passing => Self::Down,
            _ => Self::Refused,
        }
    }
}

/// The error of the table for a failed statement.
pub(super) fn of_table(connect: &dyn Connect, error: &Error) -> TableError {
    let said = connect.explain(error);
    match Failure::of(error) {
        Failure::Down => TableError::Down(said),
        Failure::Fenced | Failure::Refused => TableError::Unfit(said),
    }
}

/// The error of the registry for a failed statement.
pub(super) fn of_registry(connect: &dyn Connect, error: &Error) -> RegistryError {
    let said = connect.explain(error);
    match Failure::of(error) {
        Failure::Down => RegistryError::Down(said),
        Failure::Fenced | Failure::Refused => RegistryError::Refused(said),
    }
}

/// The error of the bus for a statement that failed while it was opened.
pub(super) fn of_opening(connect: &dyn Connect, error: &Error) -> BusError {
    let said = connect.explain(error);
    match Failure::of(error) {
        Failure::Down => BusError::Down(said),
        Failure::Fenced => BusError::Fenced,
        Failure::Refused => BusError::Unfit(said),
    }
}

/// The error of the bus for a flush that failed.
pub(super) fn of_sending(connect: &dyn Connect, error: &Error) -> BusError {
    let said = connect.explain(error);
    match Failure::of(error) {
        Failure::Down => BusError::Down(said),
        Failure::Fenced => BusError::Fenced,
        Failure::Refused => BusError::Refused(said),
    }
}

impl From<ConnectError> for TableError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Down(why) => Self::Down(why),
            ConnectError::Unfit(why) => Self::Unfit(why),
        }
    }
}

impl From<ConnectError> for BusError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Down(why) => Self::Down(why),
            ConnectError::Unfit(why) => Self::Unfit(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn an_error_of_the_server_is_passing_or_not() {
        for code in ["57P01", "57P03", "53300", "53100", "40P01", "25006", "08006", "58030"] {
            assert_eq!(Failure::of_code(code), Failure::Down, "{code}");
        }
        for code in ["42501", "42883", "54000", "BN011", "22023"] {
            assert_eq!(Failure::of_code(code), Failure::Refused, "{code}");
        }
        assert_eq!(Failure::of_code("BN010"), Failure::Fenced);
    }
}
