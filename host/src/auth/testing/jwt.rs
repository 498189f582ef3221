//! Tests of JSON Web Tokens: with each kind of key, damaged, and forged.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::auth::Secret;

/// The secret that `jwks.json` has under `shared`.
const SHARED: &[u8] = b"only for tests, 32 bytes or more.";

/// The path of a key file, made only for these tests.
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

/// A token with any header, signed with these bytes as a secret, or without a signature.
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

/// A verifier for each kind of key, with only that key.
fn verifiers() -> [(Algorithm, Jwt); 4] {
    let read = |name| verifier(KeySet::read(&path(name)).unwrap());
    [
        (Algorithm::HS256, verifier(KeySet::shared(&[Secret::new(SHARED)]).unwrap())),
        (Algorithm::RS256, read("rsa-public.pem")),
        (Algorithm::ES256, read("ec-public.pem")),
        (Algorithm::EdDSA, read("ed-public.pem")),
    ]
}

#[test]
fn with_two_secrets_both_verify() {
    let other = Secret::new(b"another secret with 32 bytes or more");
    for secrets in [[Secret::new(SHARED), other.clone()], [other.clone(), Secret::new(SHARED)]] {
        let jwt = verifier(KeySet::shared(&secrets).unwrap());
        assert_eq!(verify(&jwt, &signed(Algorithm::HS256, None)), Ok(claims()));
        assert_eq!(verify(&jwt, &signed(Algorithm::HS256, Some("any"))), Ok(claims()));
        assert_eq!(verify(&jwt, &forged(&json!({"alg": "HS256"}), Some(b"x"))), Err(TokenError::Invalid));
    }
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
fn a_token_cannot_choose_its_algorithm() {
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
        // The public key is used as a shared secret.
        for secret in public {
            for kid in [json!(null), json!("rsa"), json!("shared")] {
                let token = forged(&json!({"alg": "HS256", "typ": "JWT", "kid": kid}), Some(secret));
                assert_eq!(verify(&jwt, &token), Err(TokenError::Invalid), "HS256 with the key of {algorithm:?}");
                assert_eq!(verify(&jwks, &token), Err(TokenError::Invalid), "HS256 by {kid}");
            }
        }
    }
    let (_, shared) = &verifiers()[0];
    // A key in the token's own header isn't used.
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
        // Without `kid`: only one key of the file has this algorithm.
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
    assert_eq!(verify(&two, &signed(Algorithm::RS256, None)), invalid, "it isn't clear which key to use");
}

#[test]
fn damaged_tokens_are_invalid() {
    for (algorithm, jwt) in verifiers() {
        let token = signed(algorithm, None);
        for end in 0..token.len() {
            assert_eq!(verify(&jwt, &token[..end]), Err(TokenError::Invalid), "{algorithm:?}, cut at {end}");
        }
        // Every bit of a token, but only every seventh for RSA, which is slow.
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
    let jwt = Jwt::new(KeySet::shared(&[Secret::new(SHARED)]).unwrap(), rules);
    let verify = |claims: Value, secret: &[u8]| {
        let token = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret)).unwrap();
        jwt.verify(Some(&token), now()).map(|_| ())
    };
    let of = |exp: u64| json!({"exp": exp, "iss": "us", "aud": ["chat"]});
    assert_eq!(verify(of(1_750_000_001), SHARED), Ok(()));
    assert_eq!(verify(of(1_749_999_996), SHARED), Ok(()), "within the leeway");
    assert_eq!(verify(of(1_749_999_995), SHARED), Err(TokenError::Expired));
    assert_eq!(
        verify(of(1), b"another"),
        Err(TokenError::Invalid),
        "an old token with another signature is invalid, not expired"
    );
    assert_eq!(verify(json!({"exp": 1_750_000_001, "iss": "us", "aud": "mail"}), SHARED), Err(TokenError::Invalid));
    assert_eq!(verify(json!([1]), SHARED), Err(TokenError::Invalid), "claims are an object");
}

#[test]
fn unusable_key_files_are_refused_with_the_reason() {
    let words = |found: anyhow::Result<KeySet>| format!("{:#}", found.unwrap_err());
    let files = [
        ("rsa-private.pem", "openssl pkey -pubout"),
        ("ec-private.pem", "openssl pkey -pubout"),
        ("ed-private.pem", "openssl pkey -pubout"),
        ("certificate.pem", "openssl x509 -pubkey"),
        ("ec-384-public.pem", "P-256"),
        ("rsa-1024-public.pem", "2048 bits"),
        ("README.md", "neither a public key in PEM"),
        ("absent.pem", "No such file"),
    ];
    for (name, expected) in files {
        let error = words(KeySet::read(&path(name)));
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
    let sets = [
        ("{}", "not a JWKS"),
        ("{\"keys\": 1}", "not a JWKS"),
        ("{\"keys\": []}", "no key for RS256"),
        ("{\"keys\": [1, {}, {\"kty\": \"AKP\"}]}", "its key number 3: its `kty` is none of"),
        (
            "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"a\", \"k\": \"c2hvcnQ\"}]}",
            "its key `a`: it is too weak: a secret for HS256 must have at least 32",
        ),
        (
            "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}",
            "its key number 1: it is too weak: an RSA key",
        ),
        ("{\"keys\": [{\"kty\": \"RSA\", \"n\": \"!\", \"e\": \"AQAB\"}]}", "base64url"),
        ("{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"AQAB\"}]}", "Ed25519 key has 32"),
    ];
    for (text, expected) in sets {
        let error = words(KeySet::jwks(text));
        assert!(error.contains(expected) && !error.contains("c2hvcnQ"), "{error}");
    }
    let many = json!({"keys": vec![json!({}); 101]}).to_string();
    assert!(words(KeySet::jwks(&many)).contains("at most 100"));
    let short = words(KeySet::shared(&[Secret::new(b"hunter2")]));
    assert!(short.contains("at least 32 bytes") && !short.contains("hunter2"), "{short}");
}

/// A JWKS of these keys of `jwks.json`, in this order, with changes to their fields. A null removes a field.
fn set(keys: &[(&str, Value)]) -> String {
    let all: Value = serde_json::from_str(&file("jwks.json")).unwrap();
    let of = |name: &str| all["keys"].as_array().unwrap().iter().find(|key| key["kid"] == name).unwrap().clone();
    let changed = keys.iter().map(|(name, changes)| {
        let mut key = of(name);
        for (field, value) in changes.as_object().unwrap() {
            if value.is_null() {
                key.as_object_mut().unwrap().remove(field);
            } else {
                key[field] = value.clone();
            }
        }
        key
    });
    json!({ "keys": changed.collect::<Vec<_>>() }).to_string()
}

#[test]
fn an_unusable_key_is_skipped_and_the_others_are_used() {
    let weak = URL_SAFE_NO_PAD.encode([&[0; 200][..], &[0xff; 128]].concat());
    let cases = [
        ("rsa", json!({ "kid": "bad", "n": weak }), "its key `bad`: it is too weak"),
        ("shared", json!({ "kid": "bad", "k": "c2hvcnQ" }), "its key `bad`: it is too weak"),
        ("rsa", json!({ "kid": "bad", "n": "!" }), "base64url"),
        ("rsa", json!({ "kid": "bad", "n": null }), "is missing"),
        ("rsa", json!({ "kid": "bad", "d": "AQAB" }), "its key `bad`: it is a private key"),
        ("ec", json!({ "kid": "bad", "d": "AQAB" }), "it is a private key"),
        ("rsa", json!({ "kid": "bad", "alg": "RS512" }), "its `alg` isn't `RS256`"),
        ("rsa", json!({ "kid": "bad", "alg": 1 }), "its `alg` isn't `RS256`"),
        ("rsa", json!({ "kid": "bad", "use": "wrap" }), "its `use` isn't `sig`"),
        ("rsa", json!({ "kid": "bad", "use": null, "key_ops": ["encrypt"] }), "its `key_ops` don't have `verify`"),
        ("rsa", json!({ "kid": "bad", "key_ops": [] }), "its `key_ops` don't have `verify`"),
        ("rsa", json!({ "kid": "bad", "kty": "AKP" }), "its `kty` is none of"),
        ("ec", json!({ "kid": "bad", "crv": "P-384" }), "its curve isn't P-256"),
        ("rsa", json!({ "kid": 7 }), "is missing, or of the wrong type"),
    ];
    for (name, changes, expected) in cases {
        let text = set(&[("ec", json!({ "use": null, "key_ops": ["verify"] })), (name, changes), ("ed", json!({}))]);
        let keys = KeySet::jwks(&text).unwrap_or_else(|error| panic!("{expected}: {error:#}"));
        assert_eq!(keys.skipped().len(), 1, "{expected}: {:?}", keys.skipped());
        assert!(
            keys.skipped()[0].contains(expected) && !keys.skipped()[0].contains("c2hvcnQ"),
            "{expected}: {:?}",
            keys.skipped()
        );
        let jwt = verifier(keys);
        assert_eq!(verify(&jwt, &signed(Algorithm::EdDSA, Some("ed"))), Ok(claims()), "{expected}");
        assert_eq!(verify(&jwt, &signed(Algorithm::ES256, Some("ec"))), Ok(claims()), "{expected}");
        assert_eq!(verify(&jwt, &signed(Algorithm::RS256, Some("bad"))), Err(TokenError::Invalid), "{expected}");
    }
    assert_eq!(KeySet::read(&path("jwks.json")).unwrap().skipped().len(), 3, "a key for encryption isn't reported");
}

#[test]
fn of_two_keys_with_the_same_kid_the_first_is_used() {
    let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
    let other = json!({ "n": modulus });
    let keys = KeySet::jwks(&set(&[("rsa", json!({})), ("rsa", other.clone()), ("ed", json!({}))])).unwrap();
    assert!(keys.skipped()[0].contains("its key `rsa`: a key before it has the same `kid`"), "{:?}", keys.skipped());
    assert_eq!(verify(&verifier(keys), &signed(Algorithm::RS256, Some("rsa"))), Ok(claims()));
    let second = verifier(KeySet::jwks(&set(&[("rsa", other), ("rsa", json!({}))])).unwrap());
    assert_eq!(verify(&second, &signed(Algorithm::RS256, Some("rsa"))), Err(TokenError::Invalid));
    // Keys with the same `kid` but different algorithms are both used.
    let keys = KeySet::jwks(&set(&[("rsa", json!({ "kid": "k" })), ("ed", json!({ "kid": "k" }))])).unwrap();
    assert!(keys.skipped().is_empty());
    let jwt = verifier(keys);
    for algorithm in [Algorithm::RS256, Algorithm::EdDSA] {
        assert_eq!(verify(&jwt, &signed(algorithm, Some("k"))), Ok(claims()), "{algorithm:?}");
    }
}

#[test]
fn a_key_without_a_kid_is_used_only_if_it_is_the_only_one() {
    let alone = KeySet::jwks(&set(&[("rsa", json!({ "kid": null })), ("ed", json!({}))])).unwrap();
    assert!(alone.skipped().is_empty());
    let alone = verifier(alone);
    assert_eq!(verify(&alone, &signed(Algorithm::RS256, None)), Ok(claims()));
    assert_eq!(verify(&alone, &signed(Algorithm::RS256, Some("rsa"))), Err(TokenError::Invalid));
    let two = KeySet::jwks(&set(&[("rsa", json!({ "kid": null })), ("rsa", json!({})), ("ed", json!({}))])).unwrap();
    assert!(
        two.skipped()[0].starts_with("its keys without a `kid` (1): it has 2 keys for RS256"),
        "{:?}",
        two.skipped()
    );
    assert_eq!(verify(&verifier(two), &signed(Algorithm::RS256, Some("rsa"))), Ok(claims()));
    let both = KeySet::jwks(&set(&[("rsa", json!({ "kid": null })), ("rsa", json!({ "kid": null }))]));
    assert!(both.unwrap_err().to_string().contains("without a `kid` (2)"));
}

#[test]
fn keys_are_not_shown() {
    for (_, jwt) in verifiers() {
        let shown = format!("{jwt:?}");
        assert!(!shown.contains("only for tests") && !shown.contains("111, 110, 108, 121"), "{shown}");
    }
}
