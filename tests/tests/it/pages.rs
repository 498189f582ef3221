//! Static files: the paths that are served or hidden, and conditional requests.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, Setup, TestHost, get, request};

/// A host with some pages, and a secret file outside the static directory.
async fn pages() -> Result<TestHost> {
    let setup = Setup::new().arguments(&["--static", "public"]).file("secret.txt", b"secret".to_vec());
    let files = [
        "index.html",
        "dir/index.html",
        "dir/a b.html",
        "empty/file.txt",
        ".env",
        ".git/config",
        "dir/.hidden",
        ".well-known/acme-challenge/token",
        ".well-known/.git",
    ];
    let setup = files.iter().fold(setup, |setup, path| setup.file(&format!("public/{path}"), path.as_bytes().to_vec()));
    let host = setup.start().await?;
    let public = host.home().join("public");
    symlink(host.home().join("secret.txt"), public.join("link.txt"))?;
    symlink("../secret.txt", public.join("relative.txt"))?;
    symlink(host.home(), public.join("outside"))?;
    symlink("dir", public.join("inside"))?;
    symlink("dir/index.html", public.join("inside.html"))?;
    symlink("loop", public.join("loop"))?;
    fs::create_dir(public.join("leads"))?;
    symlink("../../secret.txt", public.join("leads").join("index.html"))?;
    fs::create_dir(public.join("a\u{e9}?#\"dir"))?;
    fs::write(public.join("a\u{e9}?#\"dir").join("index.html"), "odd")?;
    Ok(host)
}

async fn status(host: &TestHost, path: &str) -> Result<u16> {
    Ok(get(host.address(), path).await?.status)
}

#[tokio::test]
async fn hidden_and_outside_files_are_not_served() -> Result<()> {
    let host = pages().await?;
    for (path, body) in [
        ("/", "index.html"),
        ("/dir/", "dir/index.html"),
        ("/dir/a%20b.html", "dir/a b.html"),
        ("//dir//a%20b.html", "dir/a b.html"),
        ("/inside/", "dir/index.html"),
        ("/inside.html", "dir/index.html"),
        ("/.well-known/acme-challenge/token", ".well-known/acme-challenge/token"),
    ] {
        let answer = get(host.address(), path).await?;
        ensure!(answer.status == 200 && answer.body == body, "{path}: {answer:?}");
    }
    let absent = [
        "/absent",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git",
        "/dir/.hidden",
        "/.well-known/.git",
        "/./index.html",
        "/dir/../index.html",
        "/dir/%2e%2e/index.html",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/dir%2findex.html",
        "/index.html%00",
        "/%00",
        "/%ff",
        "/link.txt",
        "/relative.txt",
        "/outside",
        "/outside/",
        "/outside/secret.txt",
        "/leads",
        "/leads/",
        "/leads/index.html",
        "/loop",
        "/empty",
        "/empty/",
        "/index.html/more",
    ];
    for path in absent {
        let answer = get(host.address(), path).await?;
        ensure!(answer.status == 404 && !answer.body.contains("secret"), "{path}: {answer:?}");
    }
    ensure!(request(host.address(), "POST", "/", &[]).await?.status == 405);
    // The static directory itself may be a link, so that a deployment can replace the directory.
    let (public, next) = (host.home().join("public"), host.home().join("next"));
    fs::create_dir(&next)?;
    fs::write(next.join("index.html"), "the next")?;
    fs::rename(&public, host.home().join("before"))?;
    symlink("next", &public)?;
    ensure!(get(host.address(), "/").await?.body == "the next");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_redirect_never_leads_to_another_host() -> Result<()> {
    let host = pages().await?;
    for (path, location) in [
        ("/dir", "/dir/"),
        ("//dir", "/dir/"),
        ("///dir?a=//b", "/dir/?a=//b"),
        ("//inside", "/inside/"),
        ("/a%C3%A9%3F%23%22dir", "/a%C3%A9%3F%23%22dir/"),
    ] {
        let answer = get(host.address(), path).await?;
        ensure!(answer.status == 307, "{path}: {answer:?}");
        ensure!(answer.header("location").as_deref() == Some(location), "{path}: {answer:?}");
    }
    // There are no files with these names, so there is no redirect.
    for path in
        ["//evil.example", "//evil.example/%2e%2e", "/\\evil.example", "/%5cevil.example", "//dir%0d%0aX-Evil:1"]
    {
        ensure!(status(&host, path).await? == 404, "{path}");
    }
    host.stop().await?;
    Ok(())
}

async fn with(host: &TestHost, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    request(host.address(), "GET", path, headers).await
}

#[tokio::test]
async fn a_file_that_changes_within_a_second_is_sent_again() -> Result<()> {
    let host = pages().await?;
    let file = host.home().join("public").join("page.html");
    for n in 0..10 {
        fs::write(&file, format!("page {n}"))?;
        let first = get(host.address(), "/page.html").await?;
        let tag = first.header("etag").context("a tag")?;
        ensure!(first.body == format!("page {n}") && !tag.starts_with("W/"), "{first:?}");
        ensure!(first.header("last-modified").is_none(), "seconds are too coarse for `last-modified`: {first:?}");
        let same = with(&host, "/page.html", &[("if-none-match", &tag)]).await?;
        ensure!(same.status == 304 && same.body.is_empty() && same.header("etag").as_ref() == Some(&tag), "{same:?}");
        ensure!(same.header("cache-control").as_deref() == Some("no-cache"), "{same:?}");
        // The new content has the same length, is written within the same second, and keeps the modification time.
        let before = file.metadata()?.modified()?;
        fs::write(&file, format!("PAGE {n}"))?;
        fs::File::options().write(true).open(&file)?.set_modified(before)?;
        let later = with(&host, "/page.html", &[("if-none-match", &tag), ("if-modified-since", FUTURE)]).await?;
        ensure!(later.status == 200 && later.body == format!("PAGE {n}"), "{later:?}");
        ensure!(
            with(&host, "/page.html", &[("if-modified-since", FUTURE)]).await?.status == 200,
            "`if-modified-since` is ignored"
        );
    }
    host.stop().await?;
    Ok(())
}

const FUTURE: &str = "Fri, 31 Dec 2049 23:59:59 GMT";

#[tokio::test]
async fn conditional_requests_and_ranges_follow_http() -> Result<()> {
    let host = pages().await?;
    let whole = get(host.address(), "/dir/").await?;
    let tag = whole.header("etag").context("a tag")?;
    let weak = format!("\"other\", W/{tag}");
    for (name, value, status, body) in [
        ("if-none-match", "*", 304, ""),
        ("if-none-match", weak.as_str(), 304, ""),
        ("if-none-match", "\"other\"", 200, "dir/index.html"),
        ("if-match", tag.as_str(), 200, "dir/index.html"),
        ("if-match", "\"other\"", 412, ""),
        ("range", "bytes=0-2", 206, "dir"),
        ("range", "Bytes=-4", 206, "html"),
        ("range", "bytes=0-0,2-2", 200, "dir/index.html"),
        ("range", "bytes=99-", 416, ""),
    ] {
        let answer = with(&host, "/dir/", &[(name, value)]).await?;
        ensure!(answer.status == status && answer.body == body, "{name}: {value}: {answer:?}");
    }
    let part = with(&host, "/dir/", &[("range", "bytes=0-2"), ("if-range", &tag)]).await?;
    ensure!(part.status == 206 && part.header("etag") == Some(tag), "{part:?}");
    let changed = with(&host, "/dir/", &[("range", "bytes=0-2"), ("if-range", "\"other\"")]).await?;
    ensure!(changed.status == 200 && changed.body == "dir/index.html", "{changed:?}");
    let head = request(host.address(), "HEAD", "/dir/", &[]).await?;
    ensure!(
        head.status == 200 && head.body.is_empty() && head.header("content-length").as_deref() == Some("14"),
        "{head:?}"
    );
    host.stop().await?;
    Ok(())
}
