//! Checks the claims of a JSON Web Token: RFC 7519, section 4.1.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{JwtRules, TokenError};

pub(super) fn check(claims: &Map<String, Value>, rules: &JwtRules, now: SystemTime) -> Result<(), TokenError> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = rules.leeway as f64;
    let expires = date(claims, "exp")?.ok_or(TokenError::Invalid)?;
    if date(claims, "nbf")?.is_some_and(|begins| begins > now + leeway) {
        return Err(TokenError::Invalid);
    }
    let issuer_fits = || rules.issuer.as_ref().is_none_or(|issuer| claims.get("iss").is_some_and(|iss| iss == issuer));
    let audience_fits = || rules.audience.as_deref().is_none_or(|audience| names(claims.get("aud"), audience));
    if !issuer_fits() || !audience_fits() {
        return Err(TokenError::Invalid);
    }
    // Checked last, so that a token for another audience or issuer is invalid, and not expired.
    if expires + leeway <= now { Err(TokenError::Expired) } else { Ok(()) }
}

/// Returns a date claim: seconds since 1970, possibly with a fraction. Returns none if the claim is missing. A claim that
/// isn't a number is an error, and not the same as a missing one.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenError::Invalid),
    }
}

/// Whether `aud`, which is a string or a list of strings, contains this audience.
fn names(found: Option<&Value>, audience: &str) -> bool {
    match found {
        Some(Value::Array(list)) => list.iter().any(|one| one == audience),
        Some(one) => one == audience,
        None => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    #[test]
    fn claims_are_checked_by_the_rules() {
        let rules = JwtRules { leeway: 10, issuer: Some("us".into()), audience: Some("chat".into()) };
        let good = json!({"exp": 1001, "iss": "us", "aud": "chat"});
        let cases = [
            (json!({}), Ok(())),
            (json!({"exp": 1e12}), Ok(())),
            (json!({"exp": 991}), Ok(())),
            (json!({"exp": 990.5}), Ok(())),
            (json!({"exp": 990}), Err(TokenError::Expired)),
            (json!({"exp": -1}), Err(TokenError::Expired)),
            (json!({"exp": null}), Err(TokenError::Invalid)),
            (json!({"exp": "1001"}), Err(TokenError::Invalid)),
            (json!({"exp": [1001]}), Err(TokenError::Invalid)),
            (json!({"nbf": 1000}), Ok(())),
            (json!({"nbf": 1010}), Ok(())),
            (json!({"nbf": 1010.5}), Err(TokenError::Invalid)),
            (json!({"nbf": "1"}), Err(TokenError::Invalid)),
            (json!({"nbf": null}), Err(TokenError::Invalid)),
            (json!({"iss": "them"}), Err(TokenError::Invalid)),
            (json!({"iss": ["us"]}), Err(TokenError::Invalid)),
            (json!({"aud": ["mail", "chat"]}), Ok(())),
            (json!({"aud": ["mail"]}), Err(TokenError::Invalid)),
            (json!({"aud": "chat2"}), Err(TokenError::Invalid)),
            (json!({"aud": {"chat": 1}}), Err(TokenError::Invalid)),
            (json!({"exp": 1, "iss": "them"}), Err(TokenError::Invalid)),
        ];
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (changes, expected) in cases {
            let mut claims = good.as_object().unwrap().clone();
            claims.extend(changes.as_object().unwrap().clone());
            assert_eq!(check(&claims, &rules, now), expected, "{claims:?}");
        }
        for name in ["exp", "iss", "aud"] {
            let mut claims = good.as_object().unwrap().clone();
            claims.remove(name);
            assert_eq!(check(&claims, &rules, now), Err(TokenError::Invalid), "without {name}");
        }
        let anybodys = json!({"exp": 1001, "aud": "x", "iss": 7});
        assert_eq!(check(anybodys.as_object().unwrap(), &JwtRules::default(), now), Ok(()));
    }
}
