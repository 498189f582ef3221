//! `bennu test` runs each call twice, on two instances. A plugin that keeps state in its instances fails; one that uses what
//! the host gives it doesn't, in every language.

use std::fs;

use anyhow::{Result, ensure};
use bennu_tests::{Ended, bennu, places};

const KEEPS: &str = r#"import { channel, entries, plugin, store, type Socket } from "bennu";

const users = new Map<number, string>();
let n = 0;

export default plugin({ "kept:*": channel({
  onFault: "keep",
  state: { n: 0 },
  room: { n: 0 },
  join: (_: unknown, socket) => { users.set(socket.id, "a name"); },
  on: {
    answer: () => ({ n: ++n }),
    state: (_: unknown, socket) => { socket.state.n = n; return {}; },
    room: (_: unknown, socket) => { socket.room.n = n; return {}; },
    push: (_: unknown, socket) => { socket.push("count", { n }); return {}; },
    store: () => { store.put("count", n); return {}; },
    entry: () => { entries.put("count", n); return {}; },
    map: (_: unknown, socket: Socket) => ({ length: users.get(socket.id)!.length }),
  },
}) });
"#;

/// The event, and what the fault says.
const FAULTS: [(&str, &str); 7] = [
    (
        "answer",
        r#"the answer is Reply(Reply { status: "ok", payload: Json("{\"n\":2}") }) on the first one and Reply("#,
    ),
    ("state", "the member's state is `{\"n\":2}` on the first one and unchanged on the second one"),
    ("room", "the room is `{\"n\":2}` on the first one and `{\"n\":0}` on the second one"),
    ("push", r#"effect 1 is Push { event: "count", payload: Json("{\"n\":2}") } on the first one and Push {"#),
    ("store", "the write of the key `count` is `2` on the first one and `0` on the second one"),
    ("entry", "the change of the entry `count` is `2` on the first one and `0` on the second one"),
    ("map", "it failed on the second one: TypeError: cannot read property 'length' of undefined; in map (keeps.ts:"),
];

/// Plays a script against a plugin.
fn play(file: &str, plugin: &[u8], script: &str) -> Result<Ended> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join(file), plugin)?;
    fs::write(home.path().join("a.script"), script)?;
    // A debug build on a busy machine is slow.
    let config = format!("cache = {:?}\n[limits]\ncall_cpu_ms = 2000", places::compiled()?.display().to_string());
    fs::write(home.path().join("bennu.toml"), config)?;
    bennu(home.path(), &["test", file, "a.script", "--config", "bennu.toml"])
}

#[test]
fn state_that_a_script_keeps_in_its_module_is_a_fault() -> Result<()> {
    // Both instances are new at the first call.
    let mut script = "alice > join kept:1\nalice < ok …\nalice > answer {}\nalice < ok {\"n\": 1}\n".to_owned();
    for (event, _) in FAULTS {
        script += &format!("alice > {event} {{}}\nalice < error {{\"reason\": \"channel_crash\"}}\n");
    }
    let played = play("keeps.ts", KEEPS.as_bytes(), &script)?;
    ensure!(played.code == Some(0), "{played:?}");
    for (event, expected) in FAULTS {
        ensure!(played.errors.contains(expected), "{event}: {}", played.errors);
    }
    let says =
        "either the plugin keeps state in its instances (in a global, a `static`, a variable or a `Map` of the module)";
    ensure!(played.errors.contains(says), "{}", played.errors);
    Ok(())
}

const READS: &str = r#"import { channel, entries, now, plugin, store, token, topics, uniqueId } from "bennu";

/** A cache is no state: it only saves time. */
const squares = new Map<number, number>();

export default plugin({ "fine:*": channel({
  state: { seen: 0 },
  room: { made: [] as string[] },
  join(_: unknown, socket) {
    socket.track("a", { at: now(), dice: Math.random() });
    store.put("count", 1);
  },
  on: {
    all(_: unknown, socket) {
      const dice = [Math.random(), crypto.randomUUID(), uniqueId(), uniqueId()];
      const read = [now(), new Date().toISOString(), socket.presences, topics.members("fine:1").length, topics.under("fine:").length];
      const count = store.get<number>("count")! + 1;
      if (!squares.has(7)) squares.set(7, 49);
      store.put("count", count);
      entries.put(`shown/${count}`, { dice });
      socket.room.made = dice.map(String);
      socket.state.seen++;
      console.log("all");
      const signed = token.sign("salt", { count });
      return { count, square: squares.get(7), token: token.verify("salt", signed), list: entries.list().length, dice, read };
    },
  },
}) });
"#;

#[test]
fn what_the_host_gives_is_the_same_on_both_instances() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("fine.ts"), READS)?;
    let all = |count: u8| {
        format!(
            "alice > all {{}}\nalice < ok {{\"count\": {count}, \"square\": 49, \"token\": {{\"count\": {count}}}, \"list\": {}, \
             \"dice\": …, \"read\": …}}\n",
            count - 1
        )
    };
    let script = format!("alice > join fine:1\nalice < ok …\nalice < presence_diff …\n{}{}", all(2), all(3));
    fs::write(home.path().join("a.script"), script)?;
    fs::write(home.path().join("secret.txt"), "hunter2hunter2hunter2")?;
    let config = format!(
        "cache = {:?}\nsecret_key_base = {{ file = \"secret.txt\" }}\n[limits]\ncall_cpu_ms = 2000",
        places::compiled()?.display().to_string()
    );
    fs::write(home.path().join("bennu.toml"), config)?;
    let log = ["--log", "warn,guest=info"];
    let played = bennu(home.path(), &[&["test", "fine.ts", "a.script", "--config", "bennu.toml"], &log[..]].concat())?;
    ensure!(played.code == Some(0), "{played:?}");
    let lines = played.errors.lines().filter(|line| line.contains(" INFO all ")).count();
    ensure!(lines == 2, "each call logs once: {}", played.errors);
    Ok(())
}

const TIMED: &str = r#"import { channel, now, plugin, schedule, store } from "bennu";

let n = 0;

export default plugin({ "timed:*": channel({
  onFault: "keep",
  on: {
    plan(_: unknown, { topic }) {
      const due = now() + 1000;
      for (const key of ["kept", "kept again"]) schedule.at(topic, due, key, "kept");
      schedule.at(topic, due - 500, "fine", "fine");
      store.putExpiring("brief", due, 500);
      return { planned: schedule.due(topic, "kept") === due && store.get("brief") === due };
    },
    ask: (_: unknown, socket) => socket.send("timed:2", "wait", {}),
    plan_kept: (_: unknown, { topic }) => schedule.after(topic, 60_000 + n, "later", "fine"),
  },
  message: { wait: (_: unknown, topic) => store.put("waits", topic.answerRef ?? null) },
  info: { wait: (answer: unknown, socket) => socket.push("answered", answer) },
  topicInfo: {
    fine(_: unknown, topic, { key, due }) {
      topic.answer(store.get("waits"), { late: now() - due! < 1000 });
      topic.broadcast("fine", { key, brief: store.get("brief") ?? null });
    },
    kept: (_: unknown, topic) => topic.broadcast("kept", { n: ++n }),
  },
}) });
"#;

#[test]
fn what_a_topic_is_told_is_run_twice_and_sees_the_same_time() -> Result<()> {
    let script = "alice > join timed:1\nalice < ok …\nalice > ask {}\nalice ~\nalice > plan {}\nalice < ok {\"planned\": true}\n\
                  clock + 500ms\nalice < fine {\"key\": \"fine\", \"brief\": null}\n\
                  alice < answered {\"status\": \"ok\", \"response\": {\"late\": true}}\n\
                  clock + 500ms\nalice < kept {\"n\": 1}\nalice ~\nalice > plan_kept {}\n\
                  alice < error {\"reason\": \"channel_crash\"}";
    let played = play("timed.ts", TIMED.as_bytes(), script)?;
    ensure!(played.code == Some(0), "{played:?}");
    let says =
        r#"effect 1 is Broadcast { event: "kept", payload: Json("{\"n\":2}") } on the first one and Broadcast {"#;
    ensure!(played.errors.contains(says), "{}", played.errors);
    ensure!(played.errors.contains("the write of the key"), "{}", played.errors);
    Ok(())
}

#[test]
fn state_that_a_plugin_in_rust_keeps_in_a_static_is_a_fault() -> Result<()> {
    let naughty = places::guest("naughty")?;
    let script = "alice > join naughty:1\nalice < ok …\nalice > instance\nalice < ok {\"asked\": 1}\nalice > count\n\
                  alice < ok {\"count\": 1}\nalice > instance\nalice < phx_error {}";
    let played = play("naughty.wasm", &naughty, script)?;
    ensure!(played.code == Some(0), "{played:?}");
    let says = r#"payload: Json("{\"asked\":2}") }) on the first one and Reply"#;
    ensure!(played.errors.contains(says), "{}", played.errors);
    Ok(())
}

const ASKS: &str = r#"import { channel, http, HttpFailure, plugin, store } from "bennu";

export default plugin({ "asks:*": channel({
  join: () => ({ name: http.get("https://a.example/name").json().name }),
  on: {
    count() {
      const before = store.get<number>("count") ?? 0;
      const { status } = http.get("https://a.example/name", { method: "HEAD" }), { name } = http.get("https://a.example/name").json();
      store.put("count", before + 1);
      http.request("ordered", "https://a.example/orders", { json: { name } });
      return { status, name, count: before + 1 };
    },
    down() {
      try {
        return http.get("https://a.example/down").status;
      } catch (problem) {
        return (problem as HttpFailure).kind;
      }
    },
  },
  info: { ordered: ({ status }: any, socket) => socket.push("ordered", { status }) },
}) });
"#;

/// The second run gets the answers of the first one, also in the tests with a table of answers.
#[test]
fn answers_by_http_are_the_same_on_both_instances() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("asks.ts"), ASKS)?;
    let script = r#"http = GET https://a.example/name 200 {"name": "Ada"}
http = HEAD https://a.example/name 204
http = POST https://a.example/orders 201 {}
http = GET https://a.example/down timeout
alice > join asks:1
alice < ok {"name": "Ada"}
alice > count {}
alice < ok {"status": 204, "name": "Ada", "count": 1}
alice < ordered {"status": 201}
alice > down {}
alice < ok "timeout"
http = GET https://a.example/name 200 {"name": "Grace"}
alice > count {}
alice < ok {"status": 204, "name": "Grace", "count": 2}
alice < ordered {"status": 201}
"#;
    fs::write(home.path().join("a.script"), script)?;
    let config = format!(
        "cache = {:?}\n[limits]\ncall_cpu_ms = 2000\n[plugins.asks]\nhttp = [\"https://a.example/*\"]",
        places::compiled()?.display().to_string()
    );
    fs::write(home.path().join("bennu.toml"), config)?;
    let played = bennu(home.path(), &["test", "asks.ts", "a.script", "--config", "bennu.toml"])?;
    ensure!(played.code == Some(0) && !played.errors.contains("two instances"), "{played:?}");
    Ok(())
}
