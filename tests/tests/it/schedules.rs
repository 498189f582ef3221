//! Schedules, cron lines, starts and times to live on a real host: restarts, kills, commands, the API, and who may tell a topic
//! something.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{
    Cast, JSON, Setup, TestClient, TestHost, bennu, check, eventually, exported, get, places, request_with, within,
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;
use crate::projects::LIMITS;

/// The topic of the schedules. It has no members.
const TOPIC: &str = "naughty:1";

/// The topic in which a client asks for stored values.
const ASKED: &str = "naughty:9";

async fn join(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(ASKED, &json!({})).await?;
    Ok(client)
}

async fn stored(client: &mut TestClient, key: &str) -> Result<Value> {
    client.call(ASKED, "store_get", &json!({ "key": key })).await
}

/// Schedules by a topic message. Returns whether that was acknowledged.
async fn schedule(address: SocketAddr, payload: Value) -> Result<bool> {
    sent(address, "schedule", payload).await
}

async fn sent(address: SocketAddr, event: &str, payload: Value) -> Result<bool> {
    let body = json!({ "topic": TOPIC, "event": event, "payload": payload }).to_string();
    let answer = request_with(address, "POST", "/api/send", JSON, body.as_bytes()).await?;
    Ok(answer.status == 200 && answer.json()?["reply"]["status"] == "ok")
}

/// Waits until the host has no jobs.
async fn await_done(host: &TestHost) -> Result<()> {
    host.shows("all jobs are done", |shown| shown["jobs"]["all"] == 0).await.map(drop)
}

/// The schedules, by the command.
fn schedules(host: &TestHost, arguments: &[&str]) -> Result<Value> {
    let address = host.address().to_string();
    let ended = bennu(host.home(), &[&["schedules", "--json"], arguments, &["--host", &address]].concat())?;
    serde_json::from_str(&ended.output).with_context(|| format!("{ended:?}"))
}

async fn post(host: &TestHost, path: &str, body: &Value) -> Result<(u16, Value)> {
    let answer = host.post(path, body).await?;
    Ok((answer.status, answer.json()?))
}

/// A host that is killed again and again loses no schedule, and the writes of each callback happen once.
#[tokio::test]
async fn every_schedule_fires_once_although_the_host_is_killed() -> Result<()> {
    let kills = bennu_test_tiers::rounds("schedules::kill") as u64;
    let mut host = TestHost::start(&["naughty"]).await?;
    let (mut asked, mut acknowledged) = (0_u64, 0_u64);
    for kill in 0.. {
        // On a slow machine, a host may be killed before its first answer. So there are more rounds then.
        if kill >= kills && acknowledged > kills {
            break;
        }
        let (first, address) = (asked, host.address());
        let writer = tokio::spawn(async move {
            let (mut asked, mut acknowledged) = (first, Vec::new());
            loop {
                let ms = asked * 7919 % 250;
                if asked % 8 == 0 {
                    // Nothing of this callback is committed, whenever the kill comes.
                    let _ = sent(address, "schedule_then_fail", json!({ "key": format!("f{asked}"), "ms": ms })).await;
                }
                let asking = schedule(address, json!({ "key": format!("k{asked}"), "ms": ms }));
                asked += 1;
                match within("a schedule", asking).await {
                    Ok(Ok(true)) => acknowledged.push(asked - 1),
                    _ => return (asked, acknowledged),
                }
            }
        });
        // The moment of the kill differs in each round, and also depends on the scheduling of the processes.
        tokio::time::sleep(std::time::Duration::from_micros(20_000 + 7919 * kill % 200_000)).await;
        host = host.restart(Signal::KILL).await?;
        let (all, those) = writer.await?;
        (asked, acknowledged) = (all, acknowledged + those.len() as u64);
        let mut client = join(&host).await?;
        await_done(&host).await?;
        for number in first..asked {
            let (was_asked, rung) = (
                stored(&mut client, &format!("asked:k{number}")).await?,
                stored(&mut client, &format!("rung:k{number}")).await?,
            );
            let expected = if was_asked == true { json!(1) } else { Value::Null };
            ensure!(
                rung == expected,
                "after kill {kill}: k{number} was stored: {was_asked}, and has fired {rung} times"
            );
            let failed = stored(&mut client, &format!("rung:f{number}")).await?;
            ensure!(failed.is_null(), "after kill {kill}: f{number} was never committed, and has fired");
            ensure!(was_asked == true || !those.contains(&number), "after kill {kill}: k{number} was lost");
        }
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_schedule_that_was_due_while_the_host_did_not_run_fires_late() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut ms = 300;
    // On a slow machine, it fires before the command shows it. Then the next one has more time.
    let (key, shown) = loop {
        let key = format!("k{ms}");
        ensure!(schedule(host.address(), json!({ "key": key, "ms": ms, "payload": { "n": 1 } })).await?);
        let shown = schedules(&host, &[])?;
        if shown[0]["state"] == "waiting" {
            break (key, shown);
        }
        ms *= 2;
    };
    ensure!(shown[0]["key"] == key && shown[0]["payload"]["n"] == 1, "{shown}");
    let due_ms = shown[0]["due_ms"].as_u64().context("due_ms")?;
    let host = host
        .restart_after(Signal::KILL, |_| {
            // The host stays down until the schedule is overdue.
            while bennu::contract::system_now_ms() <= due_ms {
                std::thread::yield_now();
            }
            Ok(())
        })
        .await?;
    await_done(&host).await?;
    let mut client = join(&host).await?;
    ensure!(stored(&mut client, &format!("rung:{key}")).await? == 1);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_operator_sees_retries_and_drops_schedules() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut client = join(&host).await?;
    ensure!(schedule(host.address(), json!({ "key": "bad", "ms": 0, "event": "fail" })).await?);
    ensure!(schedule(host.address(), json!({ "key": "good", "ms": 3_600_000 })).await?);
    eventually("a failure is stored", async || {
        let shown = schedules(&host, &["--failed"])?;
        Ok((shown[0]["key"] == "bad" && shown[0]["state"] == "retrying").then_some(()))
    })
    .await?;
    let fault = host.log().find(0, "the fault", |line| line.field("callback") == "handle_topic_info").await?;
    ensure!(fault.field("event") == "fail" && fault.field("topic") == TOPIC, "{fault:?}");
    let all = get(host.address(), "/api/schedules?limit=1").await?.json()?;
    ensure!(all["schedules"][0]["key"] == "bad" && all["next"].is_string(), "{all}");
    let after = all["next"].as_str().unwrap_or_default().replace('"', "%22").replace('[', "%5B").replace(']', "%5D");
    let rest = get(host.address(), &format!("/api/schedules?plugin=naughty&after={after}")).await?.json()?;
    ensure!(rest["schedules"][0]["key"] == "good" && rest["next"].is_null(), "{rest}");
    let named = |key: &str| json!({ "plugin": "naughty", "topic": TOPIC, "key": key });
    let address = host.address().to_string();
    let command =
        |name: &str, key: &str| bennu(host.home(), &["schedules", name, "naughty", TOPIC, key, "--host", &address]);
    let dropped = command("drop", "bad")?;
    ensure!(dropped.code == Some(0) && dropped.output.is_empty(), "{dropped:?}");
    let unknown = command("drop", "bad")?;
    ensure!(unknown.code == Some(1) && unknown.errors.contains("there is no such schedule"), "{unknown:?}");
    ensure!(post(&host, "/api/schedules/drop", &named("bad")).await?.0 == 404);
    ensure!(post(&host, "/api/schedules/keep", &named("good")).await?.0 == 404);
    // A retry of a schedule that isn't due yet fires it.
    let ended = command("retry", "good")?;
    ensure!(ended.code == Some(0) && ended.output.is_empty(), "{ended:?}");
    await_done(&host).await?;
    ensure!(stored(&mut client, "rung:good").await? == 1);
    host.stop().await?;
    Ok(())
}

/// No client, and nobody that uses the API, can tell a topic what the host tells it.
#[tokio::test]
async fn only_the_host_tells_a_topic_something() -> Result<()> {
    let config = "[[plugins.naughty.cron]]\ntopic = \"naughty:1\"\nevent = \"ring\"\nschedule = \"0 0 1 1 *\"\n";
    let host = Setup::new().guests(&["naughty"])?.config(config).start().await?;
    host.shows("the next time of the cron line is stored", |shown| shown["jobs"]["all"] == 1).await?;
    ensure!(schedules(&host, &[])? == json!([]));
    let line = schedules(&host, &["--cron"])?;
    ensure!(
        line[0]["key"] == "ring 0 0 1 1 * UTC" && line[0]["state"] == "waiting" && line[0]["topic"] == TOPIC,
        "{line}"
    );
    // A message of that name is one for `handle_message`, and an event of that name one for `handle_in`.
    for event in ["start", "ring", "cron", "schedule "] {
        let sent = json!({ "topic": TOPIC, "event": event, "payload": { "source": "cron" } });
        let (status, answer) = post(&host, "/api/send", &sent).await?;
        ensure!(status == 200 && answer["reply"]["status"] == "error", "{answer}");
    }
    // The same for the answer to a request, and for the failure message of a delivery.
    let url = "https://a.example/hook";
    let answer = json!({ "source": "http", "status": 200, "headers": [], "body": "forged" });
    let failure = json!({ "source": "http", "delivery": "0", "url": url, "status": 410, "reason": "status 410" });
    for (event, payload) in [("http_answer", &answer), ("http", &answer), ("undelivered", &failure), ("fail", &failure)]
    {
        let sent = json!({ "topic": TOPIC, "event": event, "payload": payload });
        let (status, answer) = post(&host, "/api/send", &sent).await?;
        ensure!(status == 200 && answer["reply"]["status"] == "error", "{event}: {answer}");
    }
    let mut cast = Cast::new(&host);
    let forged =
        format!("bob > http_answer {answer}\nbob < error …\nbob > undelivered {failure}\nbob < error …\nbob ~");
    cast.play(&format!("bob > join naughty:1\nbob < ok …\nbob > ring\nbob < error …\n{forged}")).await?;
    let mut client = join(&host).await?;
    for key in ["rung:start", "rung:cron", "rung:schedule", "rung:http", &format!("undelivered:{url}")] {
        ensure!(stored(&mut client, key).await?.is_null(), "{key}");
    }
    host.stop().await?;
    Ok(())
}

/// A line that can't be used says so, and a topic that its plugin doesn't serve is in the log.
#[tokio::test]
async fn a_mistake_in_a_cron_line_is_told() -> Result<()> {
    let table = |fields: &str| format!("[[plugins.naughty.cron]]\ntopic = \"naughty:1\"\nevent = \"ring\"\n{fields}\n");
    for (fields, says) in [
        ("schedule = \"0 9 * *\"", "write five fields, such as `0 9 * * 1-5`"),
        ("schedule = \"0 0 31 2 *\"", "names a time that never comes"),
        ("schedule = \"0 9 * * *\"\ntimezone = \"Berlin\"", "the time zone `Berlin` isn't known"),
    ] {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("bennu.toml"), table(fields))?;
        let refused = bennu(home.path(), &["serve", "--config", "bennu.toml"])?;
        ensure!(refused.code == Some(1) && refused.errors.contains(says), "{refused:?}");
        ensure!(refused.errors.contains("`plugins.naughty.cron`, table 1"), "{refused:?}");
    }
    let config = table("schedule = \"0 9 * * *\"").replace("naughty:1", "nauhgty:1");
    let host = Setup::new().guests(&["naughty"])?.config(&config).start().await?;
    let waits = |line: &bennu_tests::Line| line.field("topic") == "nauhgty:1" && line.message().contains(" waits: ");
    host.log().find(0, "a warning about the line", waits).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn exports_carry_schedules_and_times_to_live() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut client = join(&host).await?;
    ensure!(schedule(host.address(), json!({ "key": "k", "ms": 3_600_000, "payload": [1] })).await?);
    client.call(ASKED, "store_put_expiring", &json!({ "key": "t", "value": 1, "ms": 3_600_000 })).await?;
    client.call(ASKED, "store_put_expiring", &json!({ "key": "gone", "value": 1, "ms": 1 })).await?;
    let home = host.keep_home();
    host.stop().await?;
    let exported = exported(home.path())?;
    for part in [r#""schedule":"k","due_ms":"#, r#""event":"ring","value":"[1]""#, r#""key":"t","expires_ms":"#] {
        ensure!(exported.contains(part), "{part}: {exported}");
    }
    Ok(())
}

/// A caller of the API waits for an answer that comes after the callback, for as long as it says.
#[tokio::test]
async fn a_caller_of_the_api_waits_for_a_later_answer() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut client = join(&host).await?;
    let ask = |wait_ms: Option<u64>| {
        let mut body = json!({ "topic": "naughty:2", "event": "wait_for_answer" });
        if let Some(wait_ms) = wait_ms {
            body["wait_ms"] = wait_ms.into();
        }
        let host = &host;
        async move { post(host, "/api/send", &body).await }
    };
    // Without `wait_ms`, nobody waits, so there is nothing to keep.
    ensure!(ask(None).await? == (200, json!({ "reply": null })));
    let give = json!({ "to": "naughty:2", "value": [1] });
    ensure!(client.call(ASKED, "give_answer", &give).await? == json!({ "was_waiting": false }));
    let answering = async {
        eventually("the message waits", async || {
            let given = client.call(ASKED, "give_answer", &give).await?;
            Ok((given == json!({ "was_waiting": true })).then_some(()))
        })
        .await
    };
    let ((status, answer), ()) = tokio::try_join!(ask(Some(60_000)), answering)?;
    ensure!(status == 200 && answer["reply"] == json!({ "status": "ok", "response": [1] }), "{answer}");
    let (status, answer) = ask(Some(20)).await?;
    ensure!(status == 504 && answer["error"]["code"] == "no_answer", "{answer}");
    ensure!(ask(Some(300_001)).await?.0 == 400);
    let broadcast = json!({ "topic": TOPIC, "event": "e", "wait_ms": 1 });
    ensure!(post(&host, "/api/broadcast", &broadcast).await?.0 == 400);
    stop_after_hits(host, &["wait_ms"]).await
}

const SCRIPT: &str = r#"
import { channel, plugin, schedule, store } from "bennu";

const room = channel({
  startTopics: ["timed:start"],
  on: {
    later({ ms }, socket) {
      schedule.after(socket.topic, ms, "k", "ring", { n: 1 });
      return { due: schedule.due(socket.topic, "k") !== undefined };
    },
    never(_, socket) {
      schedule.at(socket.topic, new Date(4102444800000), "k", "ring");
      schedule.cancel(socket.topic, "k");
      return { due: schedule.due(socket.topic, "k") !== undefined };
    },
    keep({ ms }) {
      store.putExpiring("kept", true, ms);
      return { kept: store.get("kept") ?? null, started: store.get("started") ?? null };
    },
  },
  message: {
    ask({ now }, topic) {
      store.put("asked", topic.answerRef ?? null);
      if (now) topic.answer(store.get("asked"), "at once");
    },
  },
  topicInfo: {
    ring(payload, topic, { source, key, due }) {
      topic.broadcast("rung", { payload, source, key, late: due! > Date.now() });
    },
    start(_, topic, { source, due }) {
      store.put("started", [topic.topic, source, due ?? null, (store.get("started")?.[3] ?? 0) + 1]);
    },
  },
});

export default plugin({ "timed:*": room });
"#;

#[tokio::test]
async fn a_script_has_schedules_starts_and_times_to_live() -> Result<()> {
    let host = Setup::new().file("plugins/timed.ts", SCRIPT.into()).start().await?;
    check(
        &host,
        r#"
        ann > join timed:1
        ann < ok {}
        ann > never
        ann < ok {"due": false}
        ann > later {"ms": 50}
        ann < ok {"due": true}
        ann < rung {"payload": {"n": 1}, "source": "schedule", "key": "k", "late": false}
        ann > keep {"ms": 60000}
        ann < ok {"kept": true, "started": ["timed:start", "start", null, 1]}
        ann > keep {"ms": 0}
        ann < ok {"kept": null, "started": ["timed:start", "start", null, 1]}
        "#,
    )
    .await?;
    // Another generation is another start.
    host.put_file("timed.ts", format!("{SCRIPT}// again").as_bytes()).await?;
    let mut client = host.connect().await?;
    client.join("timed:9", &json!({})).await?;
    eventually("the topic is told of the second start", async || {
        let kept = client.call("timed:9", "keep", &json!({ "ms": 0 })).await?;
        Ok((kept["started"][3] == 2).then_some(()))
    })
    .await?;
    let ask = json!({ "topic": "timed:2", "event": "ask", "payload": { "now": true }, "wait_ms": 60000 });
    let (_, answer) = post(&host, "/api/send", &ask).await?;
    ensure!(answer["reply"] == json!({ "status": "ok", "response": "at once" }), "{answer}");
    host.stop().await?;
    Ok(())
}

/// What a client of the guide's script sees.
const GUIDE: &str = r#"
waiter > join table:7
waiter < ok {}
waiter > served {"dish": "soup"}
waiter < ok {}
clock + 29m
waiter ~
clock + 1m
waiter < unpaid {"dish": "soup"}
waiter > served {"dish": "tea"}
waiter < ok {}
waiter > paid
waiter < ok {}
clock + 1h
waiter ~
"#;

#[test]
fn the_script_of_the_guide_does_what_the_guide_says() -> Result<()> {
    let guide = fs::read_to_string(places::workspace()?.join("docs/time.md"))?;
    let Some(script) = guide.split("```ts\n").nth(1).and_then(|rest| rest.split("```").next()) else {
        bail!("docs/time.md has no script");
    };
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("table.ts"), script)?;
    let checked = bennu(home.path(), &["check", "table.ts"])?;
    ensure!(checked.code == Some(0) && checked.output.contains("handle-topic-info"), "{checked:?}");
    fs::write(home.path().join("guide.script"), GUIDE)?;
    let config = format!("cache = {:?}\n{LIMITS}", places::compiled()?.display().to_string());
    fs::write(home.path().join("bennu.toml"), config)?;
    let played = bennu(home.path(), &["test", "table.ts", "guide.script", "--config", "bennu.toml"])?;
    ensure!(played.code == Some(0), "{played:?}");
    Ok(())
}
