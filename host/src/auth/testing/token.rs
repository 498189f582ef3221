//! Tests of tokens: signed by Phoenix, signed here, damaged, and forged.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::auth::KeyDigest;

/// Tokens that `Phoenix.Token` has signed, one on each line.
const VECTORS: &str = include_str!("vectors.jsonl");

const SECRET: &[u8] = b"phxlab-secret-key-base-0123456789abcdefghijklmnopqrstuvwxyz-0123456789";

fn tokens() -> Tokens {
    Tokens::new(Secret::new(SECRET)).unwrap()
}

/// No leeway, as in Phoenix.
const NONE: Leeway = Leeway { ahead: 0, beyond: 0 };

fn at(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

/// When the vectors were signed, in seconds since 1970.
const SIGNED: f64 = 1_750_000_000.0;

fn derivation(vector: &Value) -> Derivation {
    let plain = Derivation::of(vector["salt"].as_str().unwrap());
    if vector["name"] != "key opts" {
        return plain;
    }
    Derivation {
        key_iterations: NonZeroU32::new(2000).unwrap(),
        key_length: NonZeroU16::new(64).unwrap(),
        key_digest: KeyDigest::Sha512,
        ..plain
    }
}

/// The data of a vector in JSON, its maximum age, when it was signed, and whether signing that data here gives the same token.
fn meaning(name: &str) -> (Value, MaxAge, f64, bool) {
    let day = MaxAge::default();
    match name {
        "binary user id" | "key opts" => (json!("user-42"), day, SIGNED, true),
        "small int" => (json!(99), day, SIGNED, true),
        "int > 255" => (json!(123_456), day, SIGNED, true),
        "map with string keys" => (json!({"id": 7, "role": "admin"}), MaxAge::Seconds(1_209_600), SIGNED, true),
        "map with atom keys (OTP 25 encodes atoms as ATOM_EXT)" => (json!({"user_id": 7}), day, SIGNED, false),
        "unicode binary, max_age 60" => (json!("héllo"), MaxAge::Seconds(60), SIGNED, true),
        // It has an atom as written by OTP 25. Later versions write atoms in another form.
        "max_age infinity at signing" => (json!("x"), MaxAge::Infinity, SIGNED, false),
        "empty list / nil / tuple" => (json!(["ok", null, []]), day, SIGNED, false),
        "fractional signed_at" => (json!("user-42"), day, SIGNED + 0.5, true),
        other => panic!("a vector that isn't known: {other}"),
    }
}

#[test]
fn tokens_of_phoenix_verify_here_and_ours_are_the_same() {
    let tokens = tokens();
    let vectors: Vec<Value> = VECTORS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let (name, token) = (vector["name"].as_str().unwrap(), vector["token"].as_str().unwrap());
        assert_eq!(vector["secret_key_base"].as_str().unwrap().as_bytes(), SECRET);
        let (data, max_age, signed, is_json) = meaning(name);
        let derivation = derivation(&vector);
        let verified = tokens.verify(&derivation, Some(token), None, NONE, at(signed + 1.0));
        assert_eq!(verified, Ok(data.clone()), "{name}");
        let ours = tokens.sign(&derivation, &data, max_age, at(signed)).unwrap();
        if is_json {
            assert_eq!(ours, token, "{name}");
        }
        assert_eq!(tokens.verify(&derivation, Some(&ours), None, NONE, at(signed + 1.0)), Ok(data), "{name}, ours");
    }
}

#[test]
fn a_token_is_valid_until_its_maximum_age() {
    let (tokens, salt) = (tokens(), Derivation::of("user socket"));
    let (missing, invalid, expired) = (Err(TokenError::Missing), Err(TokenError::Invalid), Err(TokenError::Expired));
    let good = Ok(json!("user-42"));
    let signed = |age| tokens.sign(&salt, &json!("user-42"), age, at(SIGNED)).unwrap();
    let (minute, forever, never) = (signed(MaxAge::Seconds(60)), signed(MaxAge::Infinity), signed(MaxAge::Seconds(0)));
    let given = |seconds| Some(MaxAge::Seconds(seconds));
    let cases = [
        (Some(&minute), None, 0.0, &good),
        (Some(&minute), None, 60.0, &good),
        (Some(&minute), None, 60.01, &expired),
        (Some(&minute), None, -0.01, &invalid),
        (Some(&minute), given(61), 60.5, &good),
        (Some(&minute), given(10), 11.0, &expired),
        (Some(&minute), given(0), 0.0, &expired),
        (Some(&minute), given(u64::MAX), 1e9, &good),
        (Some(&minute), given(61), -1.0, &invalid),
        (Some(&minute), Some(MaxAge::Infinity), 1e9, &good),
        (Some(&forever), None, 1e9, &good),
        (Some(&forever), given(60), 61.0, &expired),
        (Some(&never), None, 0.0, &expired),
        (Some(&never), given(60), 1.0, &good),
        (None, None, 0.0, &missing),
    ];
    for (token, max_age, after, expected) in cases {
        let found = tokens.verify(&salt, token.map(String::as_str), max_age, NONE, at(SIGNED + after));
        assert_eq!(found, *expected, "{max_age:?}, {after} s later");
    }
}

#[test]
fn with_a_leeway_clocks_may_differ() {
    let (tokens, salt) = (tokens(), Derivation::of("user socket"));
    let (good, invalid, expired) = (Ok(json!(1)), Err(TokenError::Invalid), Err(TokenError::Expired));
    let signed = |age| tokens.sign(&salt, &json!(1), age, at(SIGNED)).unwrap();
    let (minute, never) = (signed(MaxAge::Seconds(60)), signed(MaxAge::Seconds(0)));
    let (both, ahead) = (Leeway::both(60), Leeway::ahead(60));
    let cases = [
        (&minute, both, -0.05, &good),
        (&minute, both, -60.0, &good),
        (&minute, both, -60.01, &invalid),
        (&minute, both, 120.0, &good),
        (&minute, both, 120.01, &expired),
        (&minute, ahead, -60.0, &good),
        (&minute, ahead, -60.01, &invalid),
        (&minute, ahead, 60.0, &good),
        (&minute, ahead, 60.01, &expired),
        (&minute, Leeway::both(u64::MAX), -1e9, &good),
        (&minute, Leeway::both(u64::MAX), 1e9, &good),
        (&never, both, 0.0, &expired),
    ];
    for (token, leeway, after, expected) in cases {
        let found = tokens.verify(&salt, Some(token), None, leeway, at(SIGNED + after));
        assert_eq!(found, *expected, "{leeway:?}, {after} s later");
    }
}

#[test]
fn only_the_same_secret_and_salt_verify() {
    let (salt, now) = (Derivation::of("user socket"), at(SIGNED));
    let token = tokens().sign(&salt, &json!(1), MaxAge::default(), now).unwrap();
    let others = [
        Derivation::of("user socket "),
        Derivation::of(""),
        Derivation { key_length: NonZeroU16::new(16).unwrap(), ..salt.clone() },
        Derivation { key_digest: KeyDigest::Sha384, ..salt.clone() },
    ];
    for other in others {
        assert_eq!(tokens().verify(&other, Some(&token), None, NONE, now), Err(TokenError::Invalid), "{other:?}");
    }
    let other = Tokens::new(Secret::new(&[SECRET, b"0"].concat())).unwrap();
    assert_eq!(other.verify(&salt, Some(&token), None, NONE, now), Err(TokenError::Invalid));
    assert!(Tokens::new(Secret::new(&SECRET[..20])).is_ok());
    let short = Tokens::new(Secret::new(&SECRET[..19])).unwrap_err().to_string();
    assert!(short.contains("at least 20 bytes") && !short.contains("phxlab"), "{short}");
}

#[test]
fn with_two_secrets_the_first_one_signs_and_both_verify() {
    let new = Secret::new(b"a new secret of more than twenty bytes");
    let (salt, now) = (Derivation::of("user socket"), at(SIGNED));
    let rotated = Tokens::new(new.clone()).unwrap().and_verify_with(Secret::new(SECRET)).unwrap();
    let prepared = tokens().and_verify_with(new.clone()).unwrap();
    for vector in VECTORS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let token = vector["token"].as_str();
        for both in [&rotated, &prepared] {
            let verified = both.verify(&derivation(&vector), token, None, NONE, at(SIGNED + 1.0));
            assert_eq!(verified, tokens().verify(&derivation(&vector), token, None, NONE, at(SIGNED + 1.0)));
            assert!(verified.is_ok(), "{vector}");
        }
    }
    let signed = |tokens: &Tokens| tokens.sign(&salt, &json!(1), MaxAge::default(), now).unwrap();
    let only_new = Tokens::new(new).unwrap();
    assert_eq!(signed(&rotated), signed(&only_new));
    assert_eq!(signed(&prepared), signed(&tokens()));
    assert_eq!(prepared.verify(&salt, Some(&signed(&rotated)), None, NONE, now), Ok(json!(1)));
    assert_eq!(only_new.verify(&salt, Some(&signed(&prepared)), None, NONE, now), Err(TokenError::Invalid));
    assert!(tokens().and_verify_with(Secret::new(b"short")).is_err());
}

#[test]
fn damaged_tokens_are_invalid() {
    let (tokens, salt, now) = (tokens(), Derivation::of("user socket"), at(SIGNED));
    let token = tokens.sign(&salt, &json!({"id": 7}), MaxAge::default(), now).unwrap();
    let verify = |token: &str| tokens.verify(&salt, Some(token), None, NONE, now);
    assert_eq!(verify(&token), Ok(json!({"id": 7})));
    for end in 0..token.len() {
        assert_eq!(verify(&token[..end]), Err(TokenError::Invalid), "cut at {end}");
        assert_eq!(verify(&token[end + 1..]), Err(TokenError::Invalid), "begun behind {end}");
    }
    for bit in 0..token.len() * 8 {
        let mut bytes = token.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Bytes that aren't UTF-8 can't be passed as text.
        if let Ok(changed) = String::from_utf8(bytes) {
            assert_eq!(verify(&changed), Err(TokenError::Invalid), "bit {bit}");
        }
    }
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let odd = [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token} "),
        format!("{header}.{payload}="),
        format!("{header}..{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{signature}.{payload}"),
        format!("SFMzODQ.{payload}.{signature}"),
        format!("bm9uZQ.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        "x".repeat(TOKEN_BYTES_MAX + 1),
    ];
    for token in odd {
        assert_eq!(verify(&token), Err(TokenError::Invalid), "{token:.100}");
    }
}

/// A token with any bytes as its payload, and a valid signature.
fn wrapped<M: Mac + KeyInit>(header: Header, payload: &[u8]) -> String {
    let key = tokens().signing.keys.get(&Secret::new(SECRET), &Derivation::of("s"));
    let message = format!("{}.{}", header.encoded(), URL_SAFE_NO_PAD.encode(payload));
    let mut mac = keyed::<M>(&key);
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[test]
fn all_three_headers_are_accepted() {
    let payload = json::payload(&json!("x"), 1_000, Some(60)).unwrap();
    let cases = [
        wrapped::<Hmac<Sha256>>(Header::Hs256, &payload),
        wrapped::<Hmac<Sha384>>(Header::Hs384, &payload),
        wrapped::<Hmac<Sha512>>(Header::Hs512, &payload),
    ];
    for token in cases {
        assert_eq!(tokens().verify(&Derivation::of("s"), Some(&token), None, NONE, at(2.0)), Ok(json!("x")), "{token}");
    }
    let mixed = wrapped::<Hmac<Sha256>>(Header::Hs512, &payload);
    assert_eq!(tokens().verify(&Derivation::of("s"), Some(&mixed), None, NONE, at(2.0)), Err(TokenError::Invalid));
}

/// The signature of all these tokens is valid, so the test covers how the term is read.
#[test]
fn payloads_are_read_strictly() {
    let (tokens, salt) = (tokens(), Derivation::of("s"));
    // Signed at 1000 ms, for 60 s.
    let around = |data: &[u8]| [b"\x83h\x03", data, b"b\0\0\x03\xe8a\x3c"].concat();
    let nested = |depth: usize| around(&[b"h\x01".repeat(depth - 1), b"j".to_vec()].concat());
    let good: [(&str, Vec<u8>, Value); 12] = [
        ("legacy", b"\x83h\x02a\x07b\0\0\x03\xe8".to_vec(), json!(7)),
        ("older legacy", b"\x83t\0\0\0\x02d\0\x04dataa\x07d\0\x06signedb\0\0\x03\xe8".to_vec(), json!(7)),
        ("a large tuple", b"\x83i\0\0\0\x03a\x07b\0\0\x03\xe8a\x3c".to_vec(), json!(7)),
        ("an age with a fraction", b"\x83h\x03a\x07b\0\0\x03\xe8F\x40\x4e\0\0\0\0\0\0".to_vec(), json!(7)),
        ("a charlist", around(b"k\0\x02hi"), json!([104, 105])),
        ("atoms", around(b"l\0\0\0\x04w\x04truew\x05falsew\x03nilw\x02okj"), json!([true, false, null, "ok"])),
        ("a tuple", around(b"h\x02w\x02oka\x01"), json!(["ok", 1])),
        ("a float", around(b"F\xbf\xf8\0\0\0\0\0\0"), json!(-1.5)),
        ("u64", around(b"n\x08\0\xff\xff\xff\xff\xff\xff\xff\xff"), json!(u64::MAX)),
        ("i64", around(b"n\x08\x01\0\0\0\0\0\0\0\x80"), json!(i64::MIN)),
        ("keys", around(b"t\0\0\0\x03a\x01jw\x01ajm\0\0\0\x01bj"), json!({"1": [], "a": [], "b": []})),
        ("deep", nested(json::DEPTH_MAX), (1..json::DEPTH_MAX).fold(json!([]), |inner, _| json!([inner]))),
    ];
    for (what, payload, expected) in good {
        let token = wrapped::<Hmac<Sha256>>(Header::Hs256, &payload);
        assert_eq!(tokens.verify(&salt, Some(&token), None, NONE, at(2.0)), Ok(expected), "{what}");
    }
    let evil: [(&str, Vec<u8>); 20] = [
        ("nothing", vec![]),
        ("no term", b"user-42".to_vec()),
        ("no tuple", b"\x83a\x07".to_vec()),
        ("a tuple of one", b"\x83h\x01a\x07".to_vec()),
        ("a tuple of four", b"\x83h\x04a\x07b\0\0\x03\xe8a\x3ca\x01".to_vec()),
        ("a time that is an atom", b"\x83h\x03a\x07w\x03nowa\x3c".to_vec()),
        ("an age that is an atom", b"\x83h\x03a\x07b\0\0\x03\xe8w\x03old".to_vec()),
        ("an age that is a list", b"\x83h\x03a\x07b\0\0\x03\xe8j".to_vec()),
        ("a map without data", b"\x83t\0\0\0\x01d\0\x06signedb\0\0\x03\xe8".to_vec()),
        ("trailing bytes", [around(b"a\x07"), vec![0]].concat()),
        ("compressed", b"\x83P\0\0\0\x02\x78\x9c\x4b\x64\x04\0\0\xcc\0c".to_vec()),
        ("a pid", around(b"Xw\x01a\0\0\0\x01\0\0\0\0\0\0\0\0")),
        ("a function", around(b"qw\x01aw\x01ba\x01")),
        ("a reference", around(b"Z\0\x01w\x01a\0\0\0\0\0\0\0\x01")),
        ("no UTF-8", around(b"m\0\0\0\x01\xff")),
        ("a key that is a list", around(b"t\0\0\0\x01jj")),
        ("a key that is a float", around(b"t\0\0\0\x01F\x3f\xf8\0\0\0\0\0\0j")),
        ("one key twice, in JSON", around(b"t\0\0\0\x02w\x01ajm\0\0\0\x01aj")),
        ("an improper list", around(b"l\0\0\0\x01a\x01a\x02")),
        ("too deep", nested(json::DEPTH_MAX + 1)),
    ];
    for (what, payload) in evil {
        let token = wrapped::<Hmac<Sha256>>(Header::Hs256, &payload);
        assert_eq!(tokens.verify(&salt, Some(&token), None, NONE, at(2.0)), Err(TokenError::Invalid), "{what}");
    }
    let negative = wrapped::<Hmac<Sha256>>(Header::Hs256, b"\x83h\x03a\x07b\0\0\x03\xe8b\xff\xff\xff\xff");
    assert_eq!(tokens.verify(&salt, Some(&negative), None, NONE, at(1.0)), Err(TokenError::Expired));
}

#[test]
fn signed_json_is_verified_unchanged() {
    let (tokens, salt, now) = (tokens(), Derivation::of("s"), at(SIGNED));
    let there_and_back = |data: &Value| {
        let token = tokens.sign(&salt, data, MaxAge::default(), now).unwrap();
        tokens.verify(&salt, Some(&token), None, NONE, now)
    };
    let many: serde_json::Map<_, _> = (0..100).map(|n| (n.to_string(), json!(n))).collect();
    let numbers = [0, 1, 255, 256, -1, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 31, -(1 << 31) - 1, i64::MIN];
    let cases = [
        json!(null),
        json!([true, false, "", "ö", {}, []]),
        json!(numbers),
        json!([u64::MAX, 0.1, -0.5, 1e300, 1.0]),
        json!(vec![7; 65_535 / 4]),
        json!(vec![300; 3]),
        json!({"b": {"a": [[[]]]}, "a": 1, "": 2}),
        Value::Object(many),
    ];
    for data in cases {
        assert_eq!(there_and_back(&data), Ok(data));
    }
    let deep = |levels: usize| (1..levels).fold(json!(1), |inner, _| json!([inner, "x"]));
    assert_eq!(there_and_back(&deep(json::DEPTH_MAX)), Ok(deep(json::DEPTH_MAX)));
    let cases = [deep(json::DEPTH_MAX + 1), json!("x".repeat(TOKEN_BYTES_MAX))];
    for data in cases {
        assert_eq!(tokens.sign(&salt, &data, MaxAge::default(), now), Err(Unsignable));
    }
}

/// What later OTPs write: their own answers to `:erlang.term_to_binary/1`, by the format's description.
#[test]
fn terms_are_written_as_erlang_writes_them() {
    let cases: [(Value, &[u8]); 12] = [
        (json!(null), b"w\x03nil"),
        (json!(true), b"w\x04true"),
        (json!([]), b"j"),
        (json!([1, 255]), b"k\0\x02\x01\xff"),
        (json!([1, 256]), b"l\0\0\0\x02a\x01b\0\0\x01\0j"),
        (json!([1, -1]), b"l\0\0\0\x02a\x01b\xff\xff\xff\xffj"),
        (json!(2_147_483_648_u32), b"n\x04\0\0\0\0\x80"),
        (json!(-2_147_483_648_i64), b"b\x80\0\0\0"),
        (json!(-2_147_483_649_i64), b"n\x04\x01\x01\0\0\x80"),
        (json!(1.0), b"F\x3f\xf0\0\0\0\0\0\0"),
        (json!({}), b"t\0\0\0\0"),
        (json!({"b": 1, "a": ""}), b"t\0\0\0\x02m\0\0\0\x01am\0\0\0\0m\0\0\0\x01ba\x01"),
    ];
    for (data, expected) in cases {
        let payload = json::payload(&data, 0, Some(0)).unwrap();
        assert_eq!(payload, [b"\x83h\x03", expected, b"a\0a\0"].concat(), "{data}");
    }
    // A list that is too long for the form of a charlist.
    let long = json::payload(&json!(vec![7; 65_536]), 0, None).unwrap();
    assert!(long.starts_with(b"\x83h\x03l\0\x01\0\0a\x07") && long.ends_with(b"a\x07ja\0w\x08infinity"));
}

#[test]
fn ages_are_written_as_seconds_or_infinity() {
    assert_eq!("60".parse(), Ok(MaxAge::Seconds(60)));
    assert_eq!("infinity".parse(), Ok(MaxAge::Infinity));
    for text in ["", "-1", "1.5", "1h", "Infinity"] {
        assert!(text.parse::<MaxAge>().is_err_and(|why| why.contains("86400")), "{text}");
    }
}

#[test]
fn neither_secret_nor_keys_are_shown() {
    let tokens = tokens();
    tokens.sign(&Derivation::of("s"), &json!(1), MaxAge::default(), at(SIGNED)).unwrap();
    assert_eq!(format!("{tokens:?}"), "Tokens { .. }");
}
