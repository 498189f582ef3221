//! Accounts in the plugin's store, and transfers between them. All topics `ledger:NAME` have the same accounts.
//!
//! Each message is one transaction: its reads and writes happen completely or not at all, even if many members send
//! messages at the same time. The reply comes after the writes are on the disk. The topics have no turns, so no
//! callback waits for another.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `deposit {"to": "a", "n": 5}` | adds to an account | `ok {"balance": 5}` |
//! | `transfer {"from": "a", "to": "b", "n": 2}` | moves money | `ok {"entry": ".."}`, or `error` if the balance is too low |
//! | `transfers {"transfers": [..]}` | several of them in one transaction | `ok {"entries": [..]}`, or `error` if a balance is too low |
//! | `balance {"of": "a"}` | | `ok {"balance": 3}` |
//! | `entries {"limit": 10}` | with `"before": ".."`, only entries before that one | `ok {"entries": [..]}`, the last first |
//! | `audit` | | `ok {"sum": 5, "accounts": 2, "entries": 1}` |
//!
//! A transfer also stores an entry.
//!
//! The client gets `moved {"entry", "from", "to", "n"}` after each transfer by a member of the same topic.

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// A member has no state of its own.
#[derive(Serialize, Deserialize)]
struct Ledger;

/// A transfer that a client asks for.
#[derive(Deserialize)]
struct Transfer {
    from: String,
    to: String,
    n: u64,
}

/// A transfer.
#[derive(Serialize, Deserialize)]
struct Moved {
    entry: String,
    from: String,
    to: String,
    n: u64,
}

const ACCOUNTS: &str = "account:";
const ENTRIES: &str = "entry:";

impl Channel for Ledger {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Ledger)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "deposit" => {
                let to: String = payload.field("to")?;
                let balance = balance(&to)?.saturating_add(payload.field("n")?);
                store::put(account(&to), balance);
                reply(json!({ "balance": balance }))
            }
            "transfer" => {
                let (from, to, n) = (payload.field("from")?, payload.field("to")?, payload.field("n")?);
                let entry = carry_out(socket, Transfer { from, to, n })?;
                reply(json!({ "entry": entry }))
            }
            "transfers" => {
                let transfers: Vec<Transfer> = payload.field("transfers")?;
                let entries = transfers.into_iter().map(|transfer| carry_out(socket, transfer));
                let entries = entries.collect::<Result<Vec<_>, _>>()?;
                reply(json!({ "entries": entries }))
            }
            "balance" => reply(json!({ "balance": balance(&payload.field::<String>("of")?)? })),
            "entries" => {
                let last = store::scan(ENTRIES).backward().limit(payload.field("limit")?);
                let last = match payload.field::<Option<String>>("before")? {
                    Some(entry) => last.before(ENTRIES.to_owned() + &entry),
                    None => last,
                };
                let entries = last.values::<Moved>().collect::<Result<Vec<_>, _>>()?;
                reply(json!({ "entries": entries }))
            }
            "audit" => {
                let balances =
                    store::scan(ACCOUNTS).limit(usize::MAX).values::<u64>().collect::<Result<Vec<_>, _>>()?;
                let entries = store::scan(ENTRIES).limit(usize::MAX).into_iter().count();
                let sum: u64 = balances.iter().sum();
                reply(json!({ "sum": sum, "accounts": balances.len(), "entries": entries }))
            }
            _ => unknown_event(event),
        }
    }
}

/// Carries out a transfer, and returns its entry.
///
/// # Errors
/// If the balance is too low. Then nothing of the callback is stored.
fn carry_out(socket: &mut Socket, Transfer { from, to, n }: Transfer) -> Result<String, Error> {
    let Some(left) = balance(&from)?.checked_sub(n) else {
        return refuse(json!({ "reason": "the balance is too low" }));
    };
    store::put(account(&from), left);
    // Read after the first write, because both may be the same account.
    store::put(account(&to), balance(&to)?.saturating_add(n));
    let moved = Moved { entry: unique_id(), from, to, n };
    store::put(format!("{ENTRIES}{}", moved.entry), &moved);
    socket.broadcast("moved", &moved);
    Ok(moved.entry)
}

fn account(name: &str) -> String {
    format!("{ACCOUNTS}{name}")
}

fn balance(name: &str) -> Result<u64, Error> {
    Ok(store::get(account(name))?.unwrap_or(0))
}

channels! { "ledger:*" => Ledger }
