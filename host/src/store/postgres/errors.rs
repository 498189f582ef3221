//! Errors of the database, in sentences that say what to do.

use std::error::Error as _;
use std::io;

use bennu_cluster::with_causes;
use tokio_postgres::error::{Error, Severity, SqlState};

/// The error codes of the functions in the database: another host has taken over the store, or this node of a cluster counts as dead.
const FENCED: [&str; 2] = ["BN002", "BN010"];

/// What a failed statement says about its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It has none: the database refused the statement, and rolled it back.
    Refused,
    /// Another host has taken over, so this one can't write any more.
    Fenced,
    /// Nobody knows: there was no answer.
    Unknown,
}

impl Effect {
    pub(super) fn of(error: &Error) -> Self {
        let Some(answer) = error.as_db_error() else { return Self::Unknown };
        if FENCED.contains(&answer.code().code()) {
            return Self::Fenced;
        }
        // A session that is ended may have committed before it. Then this error comes in place of the answer.
        let ends = !matches!(answer.parsed_severity(), Some(Severity::Error));
        let code = answer.code().code();
        if ends || code.starts_with("57P") || code.starts_with("08") { Self::Unknown } else { Self::Refused }
    }
}

/// Whether the database may soon accept a connection: it can't be reached, or is starting.
pub(super) fn is_passing(error: &Error) -> bool {
    let Some(answer) = error.as_db_error() else { return error.is_closed() || is_unreachable(error) };
    [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(answer.code())
}

fn is_unreachable(error: &Error) -> bool {
    let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) else { return false };
    // `NotFound`: a server that starts hasn't made its Unix socket yet.
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotFound
    )
}

/// Returns the error in a sentence.
pub(super) fn explain(error: &Error) -> String {
    let Some(answer) = error.as_db_error() else { return with_causes(error) };
    let said = answer.message();
    let advice = match answer.code().code() {
        "28P01" | "28000" => "check the user and the password of `store.url`, and the server's pg_hba.conf",
        "3D000" => "create the database: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0",
        "53300" => {
            "the server has too few connections: raise its max_connections or the role's CONNECTION LIMIT, or lower \
             `store.connections`"
        }
        "42501" => {
            "the role has too few rights: let it create the schema (GRANT CREATE ON DATABASE name TO role), or make it the \
             owner of the schema and of all that is in it"
        }
        "53100" => {
            "the database's disk is full: nothing of this was stored; free space, and the host goes on by itself"
        }
        "25006" => {
            "the database accepts no writes: give the address of the primary, or end its read-only mode; nothing of this was \
             stored"
        }
        // Statements of other clients' connections are prepared in the same session.
        "42P05" | "26000" => {
            "`store.url` leads through a pooler in transaction mode; give it the address of the server itself"
        }
        "57P03" => "the server is starting or stopping",
        _ => return format!("{said} (SQLSTATE {})", answer.code().code()),
    };
    format!("{said}: {advice}")
}
