//! Who may connect: tokens, JSON Web Tokens, origins, and the secrets that they are checked with.
//!
//! All of it are functions of values: `now` is a parameter, nothing is asked of the network, and a file or a variable is
//! read only where a [`SecretSource`] or a [`KeySet`] says so. What a mount makes of a yes or a no is the caller's.

mod claims;
mod derivation;
mod json;
mod jwks;
mod jwt;
mod keys;
mod leeway;
mod origin;
mod origins;
mod secret;
mod source;
mod term;
mod token;

pub use derivation::{Derivation, KeyDigest};
pub use json::DEPTH_MAX;
pub use jwt::{Jwt, JwtRules};
pub use keys::KeySet;
pub use leeway::{LEEWAY_SECONDS, Leeway};
pub use origin::{NoOriginPattern, OriginPattern};
pub use origins::{Origins, Site};
pub use secret::Secret;
pub use source::SecretSource;
pub use token::{MaxAge, TOKEN_BYTES_MAX, TokenError, Tokens, Unsignable};
