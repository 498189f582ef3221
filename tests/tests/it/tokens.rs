//! `bennu token`: signs and verifies tokens of `Phoenix.Token`.

use std::path::Path;

use anyhow::{Result, ensure};
use bennu_tests::{Ended, bennu, bennu_with};

const VARIABLE: &str = "BENNU_SECRET_KEY_BASE";

/// The secret with which a running Phoenix signed the test tokens.
const SECRET: &str = "phxlab-secret-key-base-0123456789abcdefghijklmnopqrstuvwxyz-0123456789";

/// Signed by Phoenix with the salt `user auth`, without expiry.
const FOREVER: &str = "SFMyNTY.g2gDbQAAAAF4bgYAANwgdJcBZAAIaW5maW5pdHk.pNGCQkjjA2--mqRKMnCCo5k532KMfPuBvLWWi-cAZ_Q";

/// Signed by Phoenix with the salt `user socket`, valid for one day in 2025.
const OF_2025: &str = "SFMyNTY.g2gDbQAAAAd1c2VyLTQybgYAANwgdJcBYgABUYA.XqODcKrQAbRUNyzAn7WsOeYZjl5sCgD1PLbmPrxj2CE";

fn token(arguments: &[&str]) -> Result<Ended> {
    bennu_with(Path::new("."), &[&["token"], arguments].concat(), &[(VARIABLE, SECRET)])
}

fn prints(ended: &Ended, line: &str) -> bool {
    ended.code == Some(0) && ended.output == format!("{line}\n") && ended.errors.is_empty()
}

/// Whether the command ended with this code and error, printed nothing on standard output, and didn't reveal the secret.
fn refuses(ended: &Ended, code: i32, words: &str) -> bool {
    let is_quiet = ended.output.is_empty() && !ended.errors.contains(SECRET) && !ended.errors.contains("hunter2");
    ended.code == Some(code) && is_quiet && ended.errors.contains(words)
}

#[test]
fn tokens_of_phoenix_are_verified() -> Result<()> {
    let ended = token(&["verify", "--salt", "user auth", FOREVER])?;
    ensure!(prints(&ended, "\"x\""), "{ended:?}");
    let ended = token(&["verify", "--salt", "user socket", "--max-age", "infinity", OF_2025])?;
    ensure!(prints(&ended, "\"user-42\""), "{ended:?}");
    let ended = token(&["verify", "--salt", "user socket", OF_2025])?;
    ensure!(refuses(&ended, 1, "bennu: the token has expired\n"), "{ended:?}");
    let ended = token(&["verify", "--salt", "user socket", FOREVER])?;
    ensure!(refuses(&ended, 1, "bennu: the token is invalid: "), "{ended:?}");
    let ended = token(&["verify", "--salt", "user auth", &FOREVER[..FOREVER.len() - 1]])?;
    ensure!(refuses(&ended, 1, "bennu: the token is invalid: "), "{ended:?}");
    Ok(())
}

#[test]
fn signed_tokens_are_verified() -> Result<()> {
    let cases = [
        ("42", "42"),
        ("\"42\"", "\"42\""),
        ("user-42", "\"user-42\""),
        ("42abc", "\"42abc\""),
        ("null", "null"),
        ("-5", "-5"),
        ("{\"role\": \"admin\", \"id\": 7}", "{\"id\":7,\"role\":\"admin\"}"),
        ("[1, 2.5, \"ö\"]", "[1,2.5,\"ö\"]"),
        ("", "\"\""),
    ];
    for (data, printed) in cases {
        let signed = token(&["sign", "--salt", "s", "--max-age", "600", data])?;
        ensure!(signed.code == Some(0) && signed.output.starts_with("SFMyNTY."), "{data}: {signed:?}");
        let ended = token(&["verify", "--salt", "s", signed.output.trim_end()])?;
        ensure!(prints(&ended, printed), "{data}: {ended:?}");
    }
    let options = ["--salt", "s", "--key-iterations", "2", "--key-length", "64", "--key-digest", "sha512"];
    let signed = token(&[&["sign", "42"], &options[..]].concat())?;
    let signed = signed.output.trim_end();
    let ended = token(&[&["verify", signed], &options[..]].concat())?;
    ensure!(prints(&ended, "42"), "{ended:?}");
    let ended = token(&["verify", "--salt", "s", signed])?;
    ensure!(refuses(&ended, 1, "key option"), "{ended:?}");
    let never = token(&["sign", "--salt", "s", "--max-age", "0", "42"])?;
    let ended = token(&["verify", "--salt", "s", never.output.trim_end()])?;
    ensure!(refuses(&ended, 1, "the token has expired"), "{ended:?}");
    Ok(())
}

#[test]
fn the_secret_comes_from_a_variable_or_a_file() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("secret"), format!("{SECRET}\n"))?;
    std::fs::write(home.path().join("short"), "hunter2\n")?;
    let verify = ["token", "verify", "--salt", "user auth", FOREVER];
    let of_file = bennu(home.path(), &[&verify[..], &["--secret-file", "secret"]].concat())?;
    ensure!(prints(&of_file, "\"x\""), "{of_file:?}");
    let named = [&verify[..], &["--secret-env", "OTHER"]].concat();
    let of_variable = bennu_with(home.path(), &named, &[("OTHER", SECRET), (VARIABLE, "hunter2")])?;
    ensure!(prints(&of_variable, "\"x\""), "{of_variable:?}");

    let ended = bennu(home.path(), &verify)?;
    ensure!(refuses(&ended, 1, "--secret-env or --secret-file") && ended.errors.contains(VARIABLE), "{ended:?}");
    let ended = bennu(home.path(), &named)?;
    ensure!(refuses(&ended, 1, "the environment variable OTHER is not set"), "{ended:?}");
    let ended = bennu(home.path(), &[&verify[..], &["--secret-file", "absent"]].concat())?;
    ensure!(refuses(&ended, 1, "reading the secret in absent"), "{ended:?}");
    let ended = bennu(home.path(), &[&verify[..], &["--secret-file", "short"]].concat())?;
    ensure!(refuses(&ended, 1, "at least 20 bytes"), "{ended:?}");
    let ended = bennu(home.path(), &[&named[..], &["--secret-file", "secret"]].concat())?;
    ensure!(refuses(&ended, 2, "cannot be used with"), "{ended:?}");
    Ok(())
}

#[test]
fn mistakes_are_explained() -> Result<()> {
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let cases: [(&[&str], i32, &str); 7] = [
        (&["sign", "42"], 2, "--salt"),
        (&["sign", "--salt", "s", "--max-age", "1h", "42"], 2, "give whole seconds"),
        (&["sign", "--salt", "s", "--key-digest", "md5", "42"], 2, "sha256, sha384, sha512"),
        (&["sign", "--salt", "s", "{\"id\": 7"], 1, "begins like JSON, but isn't JSON"),
        (&["sign", "--salt", "s", "\"word"], 1, "plain text needs no quotation marks"),
        (&["sign", "--salt", "s", &deep], 1, "nests deeper than 64 levels"),
        (&["verify", "--salt", "s", ""], 1, "the token is invalid"),
    ];
    for (arguments, code, words) in cases {
        let ended = token(arguments)?;
        ensure!(refuses(&ended, code, words), "{arguments:?}: {ended:?}");
    }
    Ok(())
}
