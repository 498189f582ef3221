//! Tests of projects.

use std::fs;

use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> Result<tempfile::TempDir> {
    let home = tempfile::tempdir()?;
    for (path, text) in files {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(home)
}

fn refusal(files: &[(&str, &str)]) -> Result<String> {
    let home = folder(files)?;
    Ok(Project::read(home.path(), None).err().map_or_else(String::new, |error| format!("{error:#}")))
}

const CARGO: (&str, &str) = ("Cargo.toml", "[package]\nname = \"chat\"");

#[test]
fn the_language_is_the_one_that_the_source_shows() -> Result<()> {
    let config = "load = [\"build\"]\n[build.chat]\n[build.page]\nsource = \"src/page.ts\"\n[build.other]\ncommand = \"make\"\noutput = \"out/other.wasm\"\n[build.shop]\nsource = \"src/shop.py\"";
    let home =
        folder(&[("bennu.toml", config), CARGO, ("src/page.ts", ""), ("src/shop.py", ""), ("package.json", "{}")])?;
    let project = Project::read(home.path(), None)?;
    let found: Vec<(&str, &str, String)> = project
        .targets
        .iter()
        .map(|target| (target.name.as_str(), target.language.name(), target.file_name()))
        .collect();
    let expected = [
        ("chat", "Rust", "chat.wasm"),
        ("other", "command", "other.wasm"),
        ("page", "TypeScript", "page.js"),
        ("shop", "Python", "shop.wasm"),
    ];
    assert_eq!(found, expected.map(|(name, language, file)| (name, language, file.to_owned())));
    assert!(project.sources()?.is_empty(), "nothing is built yet");
    Ok(())
}

#[test]
fn an_error_says_what_is_missing() -> Result<()> {
    let with = |rest: &str| format!("load = [\"build\"]\n[build.chat]\n{rest}");
    let cases = [
        (String::new(), "bennu new"),
        (with(""), "set `lang` or `command`"),
        (with("source = \"src\""), "src doesn't exist"),
        (with("lang = \"rust\""), "Cargo.toml"),
        (with("lang = \"python\""), "src/channels.py"),
        (with("lang = \"ts\"\nsource = \"a.ts\""), "no `package.json`"),
        (with("command = \"make\"\noutput = \"build/chat.wasm\""), "let the command write it elsewhere"),
        ("load = [\"plugins\"]\n[build.chat]\nsource = \"src/a.ts\"".to_owned(), "set `load = [\"build\"]`"),
    ];
    for (config, expected) in cases {
        let files = [("bennu.toml", config.as_str()), ("a.ts", ""), ("src.d/a.ts", "")];
        let files = if config.is_empty() { &files[1..] } else { &files[..] };
        let said = refusal(files)?;
        // The last case has a source with a package.
        let said = if config.contains("src/a.ts") {
            refusal(&[files, &[("src/a.ts", ""), ("package.json", "{}")]].concat())?
        } else {
            said
        };
        assert!(said.contains(expected), "{config}: {said}");
    }
    assert!(refusal(&[("bennu.toml", &with("")), ("Cargo.toml", "[workspace]")])?.contains("is of a workspace"));
    Ok(())
}

#[test]
fn a_folder_of_plugins_is_a_project_without_a_configuration() -> Result<()> {
    let home = folder(&[("plugins/chat.ts", ""), ("public/index.html", "")])?;
    let project = Project::read(home.path(), None)?;
    assert!(!project.has_config && project.targets.is_empty());
    assert_eq!(project.config.static_directory, Some(home.path().join("public")));
    assert_eq!(project.plain_plugins()?, [("chat".to_owned(), home.path().join("plugins/chat.ts"))]);
    Ok(())
}

#[test]
fn a_change_affects_the_targets_that_read_the_file() -> Result<()> {
    let config = "load = [\"build\"]\n[build.chat]\nsource = \"chat\"\n[build.other]\ncommand = \"make\"\noutput = \"o.wasm\"\nsource = \"other\"\nwatch = [\"other/src\"]";
    let home = folder(&[("bennu.toml", config), ("chat/Cargo.toml", CARGO.1), ("other/src/a.c", "")])?;
    let project = Project::read(home.path(), None)?;
    let affected = |path: &str| project.affected(&home.path().join(path));
    assert_eq!(affected("chat/src/lib.rs"), [0]);
    assert_eq!(affected("other/src/a.c"), [1]);
    for path in [
        "other/notes",
        "chat/target/debug/x",
        "chat/.git/index",
        "chat/src/lib.rs~",
        "chat/Cargo.lock",
        "chat/src/.lib.rs.swp",
        "build/chat.wasm",
    ] {
        assert!(affected(path).is_empty(), "{path}");
    }
    Ok(())
}

#[test]
fn a_script_is_for_the_plugin_that_it_names() -> Result<()> {
    let plugins = ["chat", "chat-room", "board"].map(|name| (name.to_owned(), PathBuf::from(format!("{name}.ts"))));
    let of = |script: &str, text: &str| {
        let test = ScriptTest::of(Path::new(script), text, &plugins)?;
        anyhow::Ok(test.plugins.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(of("tests/chat.script", "")?, "chat.ts");
    assert_eq!(of("tests/chat-history.script", "")?, "chat.ts");
    assert_eq!(of("tests/chat-room.late.script", "")?, "chat-room.ts");
    assert_eq!(of("tests/all.script", "-- all\n-- plugins: board, chat\n")?, "board.ts chat.ts");
    let refused = |script, text| of(script, text).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused("tests/chatter.script", "").contains("the plugins are chat, chat-room, board"));
    assert!(refused("tests/a.script", "-- plugins: bord").contains("it names the plugin `bord`"));
    let only = ScriptTest::of(Path::new("any.script"), "", &plugins[..1])?;
    assert_eq!(only.plugins, [PathBuf::from("chat.ts")]);
    Ok(())
}

#[test]
fn the_module_of_a_crate_is_found_in_the_messages_of_cargo() -> Result<()> {
    let home = folder(&[CARGO])?;
    let language = rust::Crate::new(home.path())?;
    let message = |manifest: &Path, file: &str| {
        let message =
            serde_json::json!({ "reason": "compiler-artifact", "manifest_path": manifest, "filenames": [file] });
        format!("{message}\n")
    };
    let own = home.path().join("Cargo.toml");
    let output = [message(Path::new("/other/Cargo.toml"), "/x/serde.rlib"), message(&own, "/x/chat.wasm")].concat();
    assert_eq!(language.product(home.path(), output.as_bytes())?, PathBuf::from("/x/chat.wasm"));
    let none = language.product(home.path(), message(&own, "/x/libchat.rlib").as_bytes());
    assert!(none.is_err_and(|error| error.to_string().contains("crate-type = [\"cdylib\"]")));
    let absent =
        language.advice(&Failure { is_absent: true, errors: "" }).map(|advice| advice.text).unwrap_or_default();
    assert!(absent.contains("https://") && absent.contains("`rustup target add"), "{absent}");
    if cfg!(unix) {
        assert!(absent.contains("`curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh`"), "{absent}");
    }
    let failure = Failure { is_absent: false, errors: "error[E0463]: can't find crate for `core`" };
    assert!(language.advice(&failure).is_some_and(|advice| advice.text.contains("`rustup target add")));
    assert_eq!(language.advice(&Failure { errors: "error[E0425]: cannot find value", ..failure }), None);
    Ok(())
}

#[test]
fn a_package_of_go_reads_the_sources_of_its_module() -> Result<()> {
    let config = "load = [\"build\"]\n[build.chat]\n[build.gate]\nsource = \"gate\"";
    let files = [("bennu.toml", config), ("go.mod", "module chat"), ("main.go", ""), ("gate/main.go", "")];
    let home = folder(&files)?;
    let project = Project::read(home.path(), None)?;
    assert!(
        project.targets.iter().all(|target| target.language.name() == "Go" && target.file_name().ends_with(".wasm"))
    );
    let affected = |path: &str| project.affected(&home.path().join(path));
    for path in ["main.go", "go.mod", "rooms/room.go", "sdk/bennu/serve.go"] {
        assert_eq!(affected(path), [0, 1], "{path}");
    }
    for path in ["README.md", "public/index.html", "tests/chat.script", "build/chat.wasm", "bennu.toml"] {
        assert!(affected(path).is_empty(), "{path}");
    }
    let invocation = project.targets[1].language.build(home.path(), true)?;
    assert_eq!(invocation.directory, home.path().join("gate"));
    assert!(invocation.variables.contains(&("GOOS".into(), "wasip1".into())));
    assert_eq!(project.targets[1].language.tests().map(|tests| tests.directory), Some(home.path().to_owned()));

    let advice = |is_absent, errors| {
        let advice = project.targets[0].language.advice(&Failure { is_absent, errors });
        advice.map_or_else(String::new, |advice| advice.text)
    };
    assert!(advice(true, "").contains("https://go.dev/dl"));
    assert!(advice(false, "go: go.mod requires go >= 1.25 (running go 1.22)").contains("too old"));
    assert!(advice(false, "replacement directory ./sdk/bennu does not exist").contains("`bennu types --lang go`"));
    assert_eq!(advice(false, "./main.go:7:2: undefined: x"), "");
    assert!(refusal(&[("bennu.toml", config), ("main.go", "")])?.contains("no `go.mod`"));
    Ok(())
}
