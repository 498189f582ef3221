//! Web Push: the encryption of a message for one browser (RFC 8291, RFC 8188), and the identification of the sender by VAPID (RFC 8292).
//!
//! The host does both, at each attempt. The key of the sender is a secret of the operator, and its signature has the time of the attempt. The
//! encryption needs no secret. But a script has no cryptography, and a message that is encrypted before it is stored couldn't be
//! compared by a call that is run twice.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::target::Target;

/// The most bytes of a message. Push services accept at least 4,096 bytes of an encrypted one.
pub const PUSH_BYTES_MAX: usize = 3993;

/// The time for which a sender identifies itself, in seconds: RFC 8292 allows a day at most.
const IDENTIFIED_SECONDS: u64 = 12 * 60 * 60;

/// The bytes of an uncompressed point of the curve.
const POINT_BYTES: usize = 65;

/// The size of the only record of a message, which is always larger than the record.
const RECORD_BYTES: u32 = 4096;

/// The keys of a browser's subscription.
#[derive(Clone, PartialEq, Eq)]
pub struct PushKeys {
    p256dh: Vec<u8>,
    auth: Vec<u8>,
}

/// The key by which the sender identifies itself to push services. Nothing prints it.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    public: String,
    subject: String,
}

impl PushKeys {
    /// Reads the keys of a subscription, as a browser gives them: base64url.
    ///
    /// # Errors
    /// Returns what is wrong.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, String> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let p256dh = decode(p256dh).filter(|key| key.len() == POINT_BYTES && key[0] == 4);
        let p256dh = p256dh.ok_or("`p256dh` of a push subscription is the base64url of 65 bytes")?;
        let auth = decode(auth).filter(|auth| auth.len() == 16);
        let auth = auth.ok_or("`auth` of a push subscription is the base64url of 16 bytes")?;
        Ok(Self { p256dh, auth })
    }

    /// Encrypts a message, with a new key and a new salt.
    ///
    /// # Errors
    /// If the message is too long, or the key isn't a point of the curve.
    pub fn encrypt(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut salt = [0; 16];
        fill(&mut salt).map_err(|_| "the operating system gives no random numbers")?;
        let key = PrivateKey::generate(&ECDH_P256).map_err(|_| "no key can be made")?;
        self.encrypt_with(&key, &salt, message)
    }

    fn encrypt_with(&self, key: &PrivateKey, salt: &[u8; 16], message: &[u8]) -> Result<Vec<u8>, String> {
        if message.len() > PUSH_BYTES_MAX {
            return Err(format!("a push message has at most {PUSH_BYTES_MAX} bytes, and not {}", message.len()));
        }
        let public = key.compute_public_key().map_err(|_| "the key has no public key")?;
        let receiver = UnparsedPublicKey::new(&ECDH_P256, &self.p256dh);
        let refused = "`p256dh` of a push subscription is no point of the curve";
        let secret = agree(key, receiver, refused, |secret| Ok(secret.to_vec()))?;
        let info = [b"WebPush: info\0", &self.p256dh[..], public.as_ref()].concat();
        let input = derive(&self.auth, &secret, &info);
        let cek = derive(salt, &input, b"Content-Encoding: aes128gcm\0");
        let nonce = derive(salt, &input, b"Content-Encoding: nonce\0");
        let mut sealed = [message, &[2]].concat();
        let cipher = UnboundKey::new(&AES_128_GCM, &cek[..16]).map(LessSafeKey::new).map_err(|_| "a key is damaged")?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).map_err(|_| "a nonce is damaged")?;
        cipher
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .map_err(|_| "the message can't be encrypted")?;
        let head = [&salt[..], &RECORD_BYTES.to_be_bytes(), &[65], public.as_ref()].concat();
        Ok([head, sealed].concat())
    }
}

impl VapidKey {
    /// Reads a private key of the curve P-256 in PEM (PKCS #8). `subject` is a `mailto:` or `https:` address of the operator.
    ///
    /// # Errors
    /// Returns what is wrong. The text has no secret.
    pub fn new(pem: &str, subject: &str) -> Result<Self, String> {
        if !subject.starts_with("mailto:") && !subject.starts_with("https://") {
            return Err("the subject is an address of the operator: `mailto:ops@example.com`, or `https://..`".into());
        }
        let lines = pem.lines().skip_while(|line| *line != "-----BEGIN PRIVATE KEY-----").skip(1);
        let text: String = lines.take_while(|line| !line.starts_with("-----")).map(str::trim).collect();
        let pair = STANDARD.decode(text).ok();
        let pair = pair.and_then(|der| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok());
        let pair = pair.ok_or(
            "it is no private key of the curve P-256 in PEM: \
             `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one",
        )?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key());
        Ok(Self { pair, public, subject: subject.to_owned() })
    }

    /// The public key, which a page needs for a subscription (`applicationServerKey`).
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Returns the value of the header `authorization` for a push service, at a time in seconds since 1970.
    pub(crate) fn authorization(&self, target: &Target, seconds: u64) -> Option<String> {
        let audience = format!("{}://{}", target.scheme(), target.authority());
        let expires = seconds + IDENTIFIED_SECONDS;
        let claims =
            format!(r#"{{"aud":"{audience}","exp":{expires},"sub":"{}"}}"#, self.subject.replace(['"', '\\'], ""));
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(r#"{"typ":"JWT","alg":"ES256"}"#), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("vapid t={signed}.{}, k={}", URL_SAFE_NO_PAD.encode(signature), self.public))
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VapidKey({})", self.public)
    }
}

impl fmt::Debug for PushKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushKeys(..)")
    }
}

/// HKDF with SHA-256 (RFC 5869), for one block of output.
fn derive(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; 32] {
    let extracted = mac(salt, &[input]);
    mac(&extracted, &[info, &[1]])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is allowed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey as VerifyingKey};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    const P256DH: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    /// The example of RFC 8291, appendix A.
    #[test]
    fn a_message_is_encrypted_as_in_the_standard() {
        let keys = PushKeys::parse(P256DH, AUTH).unwrap();
        let key =
            PrivateKey::from_private_key(&ECDH_P256, &bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")).unwrap();
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let message = b"When I grow up, I want to be a watermelon";
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(keys.encrypt_with(&key, &salt, message).unwrap()), expected);
    }

    #[test]
    fn no_two_messages_have_the_same_key_and_a_long_one_is_refused() {
        let keys = PushKeys::parse(P256DH, AUTH).unwrap();
        assert_ne!(keys.encrypt(b"x").unwrap(), keys.encrypt(b"x").unwrap());
        assert_eq!(keys.encrypt(&[0; PUSH_BYTES_MAX]).unwrap().len(), 4096);
        assert!(keys.encrypt(&[0; PUSH_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn keys_of_a_subscription_are_checked() {
        for (p256dh, auth) in [(P256DH, "AA"), ("AA", AUTH), (AUTH, AUTH), ("?", AUTH)] {
            assert!(PushKeys::parse(p256dh, auth).is_err());
        }
        let mut point = bytes(P256DH);
        point[64] ^= 1;
        let keys = PushKeys::parse(&URL_SAFE_NO_PAD.encode(point), AUTH).unwrap();
        assert!(keys.encrypt(b"x").unwrap_err().contains("no point of the curve"));
    }

    #[test]
    fn the_sender_identifies_itself_to_one_push_service() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n";
        let key = VapidKey::new(pem, "mailto:ops@a.example").unwrap();
        let target = Target::parse("https://push.example/send/7?x").unwrap();
        let value = key.authorization(&target, 1_000).unwrap();
        let (token, public) = value.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!(public, key.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let verifying = VerifyingKey::new(&ECDSA_P256_SHA256_FIXED, bytes(public));
        verifying.verify(signed.as_bytes(), &bytes(signature)).unwrap();
        let claims = String::from_utf8(bytes(signed.split_once('.').unwrap().1)).unwrap();
        assert_eq!(claims, r#"{"aud":"https://push.example","exp":44200,"sub":"mailto:ops@a.example"}"#);
        assert!(!format!("{key:?}").contains("evZz"));
        assert!(VapidKey::new("hunter2", "mailto:a").unwrap_err().contains("openssl genpkey"));
        assert!(VapidKey::new(pem, "ops@a.example").is_err());
    }
}
