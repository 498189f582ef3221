//! Who may join a board: its owner, and clients with a token.

use bennu_guest::prelude::*;
use sha2::{Digest, Sha256};

use crate::because;
use crate::board::BOARD;

const SALT: &str = "board";
/// How long a link is valid.
const LINKS_LAST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const LONGEST_ID: usize = 40;
const LONGEST_NAME: usize = 24;
/// A shorter key could be guessed.
const SHORTEST_KEY: usize = 16;
const LONGEST_KEY: usize = 64;

/// What a member may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Draw,
    /// A spectator.
    Look,
}

/// A user, and what it may do. A spectator has no name and no id.
#[derive(Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// What a token says: the topic that it is for, and the role of the client that has it.
#[derive(Serialize, Deserialize)]
struct Claims {
    board: String,
    role: Role,
}

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    name: String,
    #[serde(default)]
    key: String,
    token: Option<String>,
}

impl Access {
    /// Reads the parameters of a join. The first client that may draw becomes the board's owner.
    pub(crate) fn of(topic: &str, params: &Payload) -> Result<Self, Error> {
        check_topic(topic)?;
        let Params { name, key, token } = params.parse()?;
        let claimed = token.map(|token| claimed(topic, &token)).transpose()?;
        // The owner who opens a spectator's link sees what a spectator sees.
        if claimed == Some(Role::Look) {
            return Ok(Self { user: String::new(), name: String::new(), role: Role::Look });
        }
        let (name, user) = (checked_name(&name)?, user_of(&key)?);
        let may_draw = BOARD.update("", |board| {
            if board.owner.is_empty() {
                board.owner.clone_from(&user);
            }
            claimed.is_some() || board.is_owned_by(&user)
        })?;
        if !may_draw {
            return because("this board belongs to somebody else: ask for a link");
        }
        Ok(Self { user, name, role: Role::Draw })
    }
}

/// The role that a token gives for this board.
fn claimed(topic: &str, token: &str) -> Result<Role, Error> {
    match token::verify::<Claims>(SALT, token, Some(LINKS_LAST)) {
        Ok(claims) if claims.board == topic => Ok(claims.role),
        Err(token::TokenError::Expired) => because("this link has expired: ask for a new one"),
        Ok(_) | Err(_) => because("this link isn't valid for this board"),
    }
}

/// Makes a token for each role.
pub(crate) fn links(topic: &str) -> Value {
    let sign = |role| token::sign(SALT, Claims { board: topic.to_owned(), role }, Some(LINKS_LAST));
    json!({ "draw": sign(Role::Draw), "look": sign(Role::Look) })
}

fn check_topic(topic: &str) -> Result<(), Error> {
    let id = topic.strip_prefix("board:").unwrap_or_default();
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if id.is_empty() || id.len() > LONGEST_ID || !is_plain {
        return because("a board's name has 1 to 40 letters, digits and hyphens");
    }
    Ok(())
}

fn checked_name(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if !(1..=LONGEST_NAME).contains(&name.chars().count()) {
        return because("a name has 1 to 24 characters");
    }
    Ok(name.to_owned())
}

/// The id of a user. It doesn't tell the key, so everybody may see it.
fn user_of(key: &str) -> Result<String, Error> {
    if !(SHORTEST_KEY..=LONGEST_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return because("a key has 16 to 64 letters and digits");
    }
    let digest = Sha256::digest(key);
    Ok(digest[..10].iter().map(|byte| format!("{byte:02x}")).collect())
}
