//! Measures each hot path separately: `cargo bench -p bennu --bench hot`.
//!
//! Prints the time and the allocations of each path. The time is the median of several rounds. Each round runs all paths,
//! so that other load of the machine affects all of them. `cargo bench -p bennu --bench hot -- NAME COUNT` runs one path
//! COUNT times and prints nothing: for a profiler, or a tool that counts instructions.

mod floor;
mod stage;

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bennu::protocol::{Outbound, Payload, Ref, To};

use self::floor::Floor;
use self::stage::{INSTANT, MEMBERS, MOVED, PASSED, PAYLOAD, Stage, TOPIC, decode, encode, frame, turn};

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(20);

/// One hot path.
struct Path<'a> {
    name: &'static str,
    /// The number of operations in one run of `walk`. Time and allocations are printed for one operation.
    each: usize,
    walk: Box<dyn FnMut() + 'a>,
}

fn main() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut floor = match asked.first() {
        // Compiling the floor would take most of the time in a profile.
        Some(name) if !name.starts_with("floor") => None,
        _ => Some(Floor::new(&stage.component)?),
    };
    let _inside = stage.enter();
    let mut paths = paths(&stage, floor.as_mut());
    match &asked[..] {
        [name, count] => {
            let count: usize = count.parse()?;
            let path =
                paths.iter_mut().find(|path| path.name == name).ok_or_else(|| anyhow::anyhow!("no such path"))?;
            (0..100).for_each(|_| (path.walk)());
            // These two system calls mark the beginning and the end for a tool that counts instructions.
            std::thread::yield_now();
            (0..count).for_each(|_| (path.walk)());
            std::thread::yield_now();
        }
        _ => report(&mut paths),
    }
    Ok(())
}

fn paths<'a>(stage: &'a Stage, floor: Option<&'a mut Floor>) -> Vec<Path<'a>> {
    let mut paths = Vec::new();
    let mut add = |name, each, walk: Box<dyn FnMut() + 'a>| paths.push(Path { name, each, walk });
    let (message, payload) = (frame(TOPIC, "echo"), Payload::Json(PAYLOAD.into()));
    let (to, reference) = (To::Topic(TOPIC), Ref::from_text("2"));
    add("decode", 1, Box::new(move || drop(black_box(decode(&message)))));
    add("encode", 1, {
        let (join_ref, payload) = (Ref::from_text("1"), payload.clone());
        Box::new(move || {
            let (reference, payload) = (&reference, &payload);
            drop(black_box(encode(Outbound::Reply { join_ref: &join_ref, reference, to, status: "ok", payload })));
        })
    });
    let floor = floor.map(RefCell::new).map(Rc::new);
    for (floor_name, name, event) in [("floor nothing", "call nothing", "nothing"), ("floor echo", "call echo", "echo")]
    {
        if let Some(floor) = floor.clone() {
            add(floor_name, 1, Box::new(move || floor.borrow_mut().call(event)));
        }
        let call = Stage::question(event);
        add(name, 1, Box::new(move || drop(black_box(stage.call(&call)))));
    }
    let mut client = stage.join(TOPIC);
    let message = frame(TOPIC, "echo");
    add("turn echo", 1, Box::new(move || turn(&mut client, &message)));
    let mut client = stage.join(INSTANT);
    let message = frame(INSTANT, "set");
    add("commit", 1, Box::new(move || turn(&mut client, &message)));
    let passing = Stage::passing(256);
    add("filter", 256, Box::new(move || assert_eq!(stage.filter(&passing), 256)));
    for (name, topic) in [("fanout", TOPIC), ("intercepted", PASSED)] {
        let mut clients: Vec<_> = (0..MEMBERS).map(|_| stage.join(topic)).collect();
        let fan_out = move || {
            stage.shout(topic);
            clients.iter_mut().for_each(|client| assert_eq!(client.receive(), 1));
        };
        add(name, MEMBERS, Box::new(fan_out));
    }
    let mut clients: Vec<_> = (0..MEMBERS).map(|_| stage.join(MOVED)).collect();
    let fan_out = move || {
        stage.shout_droppable(MOVED, "ada");
        clients.iter_mut().for_each(|client| assert_eq!(client.receive(), 1));
    };
    add("droppable", MEMBERS, Box::new(fan_out));
    paths
}

fn report(paths: &mut [Path<'_>]) {
    let counts: Vec<usize> = paths.iter_mut().map(|path| calibrate(&mut path.walk)).collect();
    let mut times = vec![Vec::new(); paths.len()];
    for _ in 0..ROUNDS {
        for ((path, count), times) in paths.iter_mut().zip(&counts).zip(&mut times) {
            let began = Instant::now();
            (0..*count).for_each(|_| (path.walk)());
            times.push(began.elapsed().as_nanos() as f64 / *count as f64 / path.each as f64);
        }
    }
    println!("{:16} {:>10} {:>22} {:>12}", "", "ns", "from .. to", "allocations");
    for (path, times) in paths.iter_mut().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let allocations = allocation_counter::measure(|| (path.walk)()).count_total as f64 / path.each as f64;
        let (least, median, most) = (times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
        println!("{:16} {median:>10.0} {:>22} {allocations:>12.2}", path.name, format!("{least:.0} .. {most:.0}"));
    }
}

/// Returns the number of runs that take [`ROUND`].
fn calibrate(walk: &mut dyn FnMut()) -> usize {
    (0..100).for_each(|_| walk());
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < ROUND {
        walk();
        count += 1;
    }
    count
}
