//! Authentication: `Phoenix.Token`, JSON Web Tokens, origins, and the secrets for them.
//!
//! The functions here depend only on their parameters. `now` is a parameter, and nothing uses the network. Only [`LiveKeys`] change, and the caller changes them. Only a
//! [`SecretSource`] or [`KeySet::read`] reads a file or an environment variable. The caller decides what a refusal means for a
//! connection.

mod api_key;
mod claims;
mod derivation;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod json;
mod jwks;
mod jwt;
mod keys;
mod leeway;
mod live_keys;
mod origin;
mod origins;
mod secret;
mod source;
mod term;
mod token;

pub use api_key::{API_KEY_BYTES, ApiKeyHash, NewApiKey, without_api_keys};
pub use derivation::{Derivation, KeyDigest};
pub use json::DEPTH_MAX;
pub use jwt::{Jwt, JwtRules};
pub use keys::KeySet;
pub use leeway::{LEEWAY_SECONDS, Leeway};
pub use live_keys::LiveKeys;
pub use origin::{NoOriginPattern, OriginPattern};
pub use origins::{Origins, Site};
pub use secret::Secret;
pub use source::{SecretSource, SecretSources};
pub use token::{MaxAge, TOKEN_BYTES_MAX, TokenError, Tokens, Unsignable};
