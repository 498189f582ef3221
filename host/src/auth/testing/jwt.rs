//! JSON Web Tokens with each kind of key, and those that only look like one.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::auth::Secret;

/// The one in `jwks.json` under `shared`.
const SHARED: &[u8] = b"only for tests, 32 bytes or more.";

/// A file of keys that were made for these tests.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testing/keys").join(name)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::RS512 => EncodingKey::from_rsa_pem(file("rsa-private.pem").as_bytes()).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(file("ec-private.pem").as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(file("ed-private.pem").as_bytes()).unwrap(),
        _ => EncodingKey::from_secret(SHARED),
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

fn claims() -> Value {
    json!({"sub": "42", "exp": 1_750_000_100, "roles": ["admin", {"of": "ö"}]})
}

fn signed(algorithm: Algorithm, kid: Option<&str>) -> String {
    let header = Header { kid: kid.map(Into::into), ..Header::new(algorithm) };
    encode(&header, &claims(), &signer(algorithm)).unwrap()
}

/// A token of any header, signed with these bytes as a secret, or not at all.
fn forged(header: &Value, secret: Option<&[u8]>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(&claims()));
    let signature = secret.map_or(String::new(), |secret| {
        jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap()
    });
    format!("{message}.{signature}")
}

fn verifier(keys: KeySet) -> Jwt {
    Jwt::new(keys, JwtRules::default())
}

fn verify(jwt: &Jwt, token: &str) -> Result<Value, TokenError> {
    jwt.verify(Some(token), now()).map(Value::Object)
}

/// Each kind of key, alone.
fn verifiers() -> [(Algorithm, Jwt); 4] {
    let read = |name| verifier(KeySet::read(&path(name)).unwrap());
    [
        (Algorithm::HS256, verifier(KeySet::shared(&Secret::new(SHARED)).unwrap())),
        (Algorithm::RS256, read("rsa-public.pem")),
        (Algorithm::ES256, read("ec-public.pem")),
        (Algorithm::EdDSA, read("ed-public.pem")),
    ]
}

#[test]
fn each_algorithm_verifies_its_own_and_no_other() {
    for (algorithm, jwt) in verifiers() {
        for other in [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS512] {
            let expected = if other == algorithm { Ok(claims()) } else { Err(TokenError::Invalid) };
            assert_eq!(verify(&jwt, &signed(other, None)), expected, "{other:?} by a key of {algorithm:?}");
            assert_eq!(verify(&jwt, &signed(other, Some("any"))), expected, "{other:?} with a kid");
        }
        assert_eq!(jwt.verify(None, now()), Err(TokenError::Missing));
    }
    let pkcs1 = verifier(KeySet::read(&path("rsa-public-pkcs1.pem")).unwrap());
    assert_eq!(verify(&pkcs1, &signed(Algorithm::RS256, None)), Ok(claims()));
}

#[test]
fn a_token_doesn_t_choose_its_algorithm() {
    let jwks = verifier(KeySet::read(&path("jwks.json")).unwrap());
    let pem = file("rsa-public.pem");
    let public = [pem.as_bytes(), pem.trim_end().as_bytes()];
    for (algorithm, jwt) in verifiers() {
        for none in ["none", "None", "NONE", "nOnE", ""] {
            for kid in [json!(null), json!("rsa")] {
                let token = forged(&json!({"alg": none, "typ": "JWT", "kid": kid}), None);
                assert_eq!(verify(&jwt, &token), Err(TokenError::Invalid), "{none} by {algorithm:?}");
                assert_eq!(verify(&jwks, &token), Err(TokenError::Invalid), "{none}");
            }
        }
        // The public key as if it were a shared secret.
        for secret in public {
            for kid in [json!(null), json!("rsa"), json!("shared")] {
                let token = forged(&json!({"alg": "HS256", "typ": "JWT", "kid": kid}), Some(secret));
                assert_eq!(verify(&jwt, &token), Err(TokenError::Invalid), "HS256 with the key of {algorithm:?}");
                assert_eq!(verify(&jwks, &token), Err(TokenError::Invalid), "HS256 by {kid}");
            }
        }
    }
    let (_, shared) = &verifiers()[0];
    // A key that the token brings along is not ours.
    let brings = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("mine")}});
    assert_eq!(verify(shared, &forged(&brings, Some(b"mine"))), Err(TokenError::Invalid));
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": true});
    assert_eq!(verify(shared, &forged(&critical, Some(SHARED))), Err(TokenError::Invalid));
    assert_eq!(verify(shared, &forged(&json!({"alg": "HS256"}), Some(SHARED))), Ok(claims()));
}

#[test]
fn the_kid_chooses_the_key() {
    let jwt = verifier(KeySet::read(&path("jwks.json")).unwrap());
    let (good, invalid) = (Ok(claims()), Err(TokenError::Invalid));
    let cases = [
        (Algorithm::RS256, Some("rsa"), &good),
        (Algorithm::ES256, Some("ec"), &good),
        (Algorithm::EdDSA, Some("ed"), &good),
        (Algorithm::HS256, Some("shared"), &good),
        (Algorithm::RS256, Some("ec"), &invalid),
        (Algorithm::RS256, Some("rsa-enc"), &invalid),
        (Algorithm::RS512, Some("rsa-512"), &invalid),
        (Algorithm::RS256, Some("rsa-512"), &invalid),
        (Algorithm::RS256, Some("other"), &invalid),
        (Algorithm::RS256, Some(""), &invalid),
        (Algorithm::ES256, Some("x25519"), &invalid),
        // Only one key of the file is for this algorithm.
        (Algorithm::RS256, None, &good),
    ];
    for (algorithm, kid, expected) in cases {
        assert_eq!(verify(&jwt, &signed(algorithm, kid)), *expected, "{algorithm:?} {kid:?}");
    }
    let mut set: Value = serde_json::from_str(&file("jwks.json")).unwrap();
    let mut second = set["keys"][0].clone();
    second["kid"] = json!("second");
    set["keys"].as_array_mut().unwrap().push(second);
    let two = verifier(KeySet::jwks(&set.to_string()).unwrap());
    assert_eq!(verify(&two, &signed(Algorithm::RS256, Some("second"))), good);
    assert_eq!(verify(&two, &signed(Algorithm::RS256, None)), invalid, "it isn't clear which");
}

#[test]
fn damaged_tokens_are_invalid() {
    for (algorithm, jwt) in verifiers() {
        let token = signed(algorithm, None);
        for end in 0..token.len() {
            assert_eq!(verify(&jwt, &token[..end]), Err(TokenError::Invalid), "{algorithm:?}, cut at {end}");
        }
        // RSA takes its time, so every bit of the others and one of each of its letters.
        let step = if algorithm == Algorithm::RS256 { 7 } else { 1 };
        for bit in (0..token.len() * 8).step_by(step) {
            let mut bytes = token.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(changed) = String::from_utf8(bytes) {
                assert_eq!(verify(&jwt, &changed), Err(TokenError::Invalid), "{algorithm:?}, bit {bit}");
            }
        }
        for odd in ["", ".", "..", "...", "a.b.c", "é.é.é", &format!("{token}.{token}"), &"x".repeat(1 << 17)] {
            assert_eq!(verify(&jwt, odd), Err(TokenError::Invalid), "{odd:.100}");
        }
    }
}

#[test]
fn claims_are_checked_after_the_signature() {
    let rules = JwtRules { leeway: 5, issuer: Some("us".into()), audience: Some("chat".into()) };
    let jwt = Jwt::new(KeySet::shared(&Secret::new(SHARED)).unwrap(), rules);
    let verify = |claims: Value, secret: &[u8]| {
        let token = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret)).unwrap();
        jwt.verify(Some(&token), now()).map(|_| ())
    };
    let of = |exp: u64| json!({"exp": exp, "iss": "us", "aud": ["chat"]});
    assert_eq!(verify(of(1_750_000_001), SHARED), Ok(()));
    assert_eq!(verify(of(1_749_999_996), SHARED), Ok(()), "within the leeway");
    assert_eq!(verify(of(1_749_999_995), SHARED), Err(TokenError::Expired));
    assert_eq!(verify(of(1), b"another"), Err(TokenError::Invalid), "not an old one of ours");
    assert_eq!(verify(json!({"exp": 1_750_000_001, "iss": "us", "aud": "mail"}), SHARED), Err(TokenError::Invalid));
    assert_eq!(verify(json!([1]), SHARED), Err(TokenError::Invalid), "claims are an object");
}

#[test]
fn files_that_are_no_keys_say_why() {
    let words = |found: anyhow::Result<KeySet>| format!("{:#}", found.unwrap_err());
    let files = [
        ("rsa-private.pem", "openssl pkey -pubout"),
        ("ec-private.pem", "openssl pkey -pubout"),
        ("ed-private.pem", "openssl pkey -pubout"),
        ("certificate.pem", "openssl x509 -pubkey"),
        ("ec-384-public.pem", "P-256"),
        ("rsa-1024-public.pem", "2048 bits"),
        ("README.md", "no public key in PEM"),
        ("absent.pem", "No such file"),
    ];
    for (name, expected) in files {
        let error = words(KeySet::read(&path(name)));
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
    let sets = [
        ("{}", "no JWKS"),
        ("{\"keys\": 1}", "no JWKS"),
        ("{\"keys\": []}", "no key for RS256"),
        ("{\"keys\": [1, {}, {\"kty\": \"AKP\"}]}", "no key for RS256"),
        (
            "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"a\", \"k\": \"c2hvcnQ\"}]}",
            "its key `a`: a secret for HS256 has 32",
        ),
        ("{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}", "its key number 1: an RSA key has 2048"),
        ("{\"keys\": [{\"kty\": \"RSA\", \"n\": \"!\", \"e\": \"AQAB\"}]}", "base64url"),
        ("{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"AQAB\"}]}", "Ed25519 key has 32"),
    ];
    for (text, expected) in sets {
        let error = words(KeySet::jwks(text));
        assert!(error.contains(expected) && !error.contains("c2hvcnQ"), "{error}");
    }
    let mut twice: Value = serde_json::from_str(&file("jwks.json")).unwrap();
    twice["keys"][3]["kid"] = json!("rsa");
    assert!(words(KeySet::jwks(&twice.to_string())).contains("the `kid` `rsa`"));
    let many = json!({"keys": vec![json!({}); 101]}).to_string();
    assert!(words(KeySet::jwks(&many)).contains("at most 100"));
    let short = words(KeySet::shared(&Secret::new(b"hunter2")));
    assert!(short.contains("32 bytes at least") && !short.contains("hunter2"), "{short}");
}

#[test]
fn keys_are_not_shown() {
    for (_, jwt) in verifiers() {
        let shown = format!("{jwt:?}");
        assert!(!shown.contains("only for tests") && !shown.contains("111, 110, 108, 121"), "{shown}");
    }
}
