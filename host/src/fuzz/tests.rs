//! Runs the targets: their corpus, and then seeded mutations of it.
//!
//! The variables are for `cargo xtask fuzz`: how many mutations, from which seed, or a single input.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use bennu_test_tiers::{Noise, rounds};

use super::mutator::mutated;
use super::{TARGETS, Target, find};

/// The number of mutations, instead of the tier's.
const RUNS: &str = "BENNU_FUZZ_RUNS";
/// The seed. Without it, each run has the same mutations.
const SEED: &str = "BENNU_FUZZ_SEED";
/// The path of the only input.
const INPUT: &str = "BENNU_FUZZ_INPUT";

/// Targets that take so long for an input that they have fewer mutations.
const SLOW: [&str; 3] = ["config", "core_module", "component"];

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join("corpus").join(target.name)
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("reading {}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file of the corpus").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

/// What was found out in a run.
#[derive(Default)]
struct Summary {
    runs: usize,
    valid: usize,
    slowest: Duration,
}

impl Summary {
    /// Runs one input. If the target panics, the input is written to a file.
    fn run(&mut self, target: &Target, input: &[u8]) {
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
            Ok(is_valid) => self.valid += usize::from(is_valid),
            Err(panic) => report(target, input, panic),
        }
        self.slowest = self.slowest.max(began.elapsed());
        self.runs += 1;
    }
}

/// Writes the input that makes a target panic, and panics.
fn report(target: &Target, input: &[u8], panic: Box<dyn Any + Send>) {
    let failures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz");
    let path = failures.join(format!("{}-{:08x}", target.name, crc32fast::hash(input)));
    let written = fs::create_dir_all(&failures).and_then(|()| fs::write(&path, input));
    eprintln!("the target `{}` panics with these bytes: {}", target.name, input.escape_ascii());
    match written {
        Ok(()) => eprintln!(
            "they are in {}; run them with `cargo xtask fuzz {} --input PATH`, and add them to {}",
            path.display(),
            target.name,
            folder(target).display()
        ),
        Err(error) => eprintln!("writing them to {}: {error}", path.display()),
    }
    resume_unwind(panic);
}

fn number(variable: &str) -> Option<usize> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`; it must be a whole number")))
}

fn run(name: &str) {
    let target = find(name).unwrap_or_else(|| panic!("`{name}` is no target"));
    let mut summary = Summary::default();
    if let Some(path) = env::var_os(INPUT) {
        summary.run(target, &fs::read(&path).expect("the input can be read"));
        println!("fuzz {name}: {} is {}", path.display(), if summary.valid == 1 { "valid" } else { "not valid" });
        return;
    }
    let began = Instant::now();
    let corpus = corpus(target);
    corpus.iter().for_each(|input| summary.run(target, input));
    assert!(summary.valid > 0, "no input of the corpus of `{name}` is valid");
    let tier = if SLOW.contains(&name) { "fuzz::slow" } else { "fuzz" };
    let runs = number(RUNS).unwrap_or_else(|| rounds(tier));
    let mut noise = Noise::new(number(SEED).unwrap_or(1) as u64);
    for _ in 0..runs {
        summary.run(target, &mutated(&mut noise, &corpus));
    }
    let Summary { runs, valid, slowest } = summary;
    println!(
        "fuzz {name}: {runs} inputs, {:.1} % of them valid, in {:.1} s; the slowest took {:.1} ms",
        100.0 * valid as f64 / runs as f64,
        began.elapsed().as_secs_f64(),
        1e3 * slowest.as_secs_f64()
    );
}

/// A test for each target.
macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn each_target_has_a_test_and_a_name_of_its_own() {
            let tested = [$(stringify!($name)),*];
            let mut names = TARGETS.map(|target| target.name);
            names.sort_unstable();
            let mut sorted = tested;
            sorted.sort_unstable();
            assert_eq!(names, sorted);
        }
    };
}

tests! {
    frames socket websocket inflate handshake connect longpoll origin token token_payload jwt traceparent
    x_forwarded_for forwarded proxy_protocol
    api_body jwks url
    flush nats_message notification node_message node_row plugin_records plugin_reports
    handover parcel
    component core_module script manifest effects published payload
    store_log store_rows export stored_answer former
    config cron transcript
}

/// The seeds that a run begins with differ, so two runs don't try the same inputs.
#[test]
fn mutations_depend_on_the_seed_only() {
    let corpus = [b"{\"a\":[1,2]}".to_vec(), b"second".to_vec()];
    let some = |seed| {
        let mut noise = Noise::new(seed);
        (0..100).map(|_| mutated(&mut noise, &corpus)).collect::<Vec<_>>()
    };
    assert_eq!(some(1), some(1));
    assert_ne!(some(1), some(2));
}
