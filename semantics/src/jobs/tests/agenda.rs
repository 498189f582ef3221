//! The agenda against a list that is searched.

use std::sync::Arc;

use bennu_test_tiers::Noise;

use super::*;

/// A job in the plain model.
#[derive(Clone, Debug)]
struct Job {
    id: JobId,
    next_ms: Option<u64>,
    bytes: u64,
    phase: Phase,
}

#[derive(Default)]
struct Model(Vec<Job>);

impl Model {
    fn find(&mut self, id: &JobId) -> Option<&mut Job> {
        self.0.iter_mut().find(|job| job.id == *id)
    }

    fn put(&mut self, id: JobId, next_ms: Option<u64>, bytes: u64) {
        let resting = if next_ms.is_some() { Phase::Waiting } else { Phase::GivenUp };
        match self.find(&id) {
            Some(job) => {
                job.phase = if job.phase == Phase::Running { Phase::Running } else { resting };
                (job.next_ms, job.bytes) = (next_ms, bytes);
            }
            None => self.0.push(Job { id, next_ms, bytes, phase: resting }),
        }
    }

    fn due(&self, now_ms: u64) -> Option<JobId> {
        let waiting = self.0.iter().filter(|job| job.phase == Phase::Waiting);
        let due = waiting.filter(|job| job.next_ms.is_some_and(|next_ms| next_ms <= now_ms));
        due.min_by_key(|job| (job.next_ms, job.id.clone())).map(|job| job.id.clone())
    }
}

#[test]
fn the_agenda_equals_a_plain_list() {
    for seed in 0..bennu_test_tiers::rounds("jobs::agenda") as u64 {
        let mut noise = Noise::new(seed);
        let (mut agenda, mut model, mut now_ms) = (Agenda::default(), Model::default(), 0);
        for _ in 0..200 {
            let job = id(["a", "b"][noise.below(2)], &noise.below(4).to_string());
            match noise.below(8) {
                0..=2 => {
                    let (next_ms, bytes) = (now_ms + noise.below(20) as u64, noise.below(100) as u64);
                    let next_ms = (noise.below(8) > 0).then_some(next_ms);
                    agenda.put(job.clone(), next_ms, bytes);
                    model.put(job, next_ms, bytes);
                }
                3 => {
                    agenda.remove(&job);
                    model.0.retain(|other| other.id != job);
                }
                4 => {
                    let due = model.due(now_ms);
                    assert_eq!(agenda.take_due(now_ms, |_| true).as_deref(), due.as_ref(), "seed {seed}");
                    if let Some(job) = due.and_then(|due| model.find(&due)) {
                        job.phase = Phase::Running;
                    }
                }
                5 => {
                    agenda.ended(&job, now_ms + 2);
                    if let Some(job) = model.find(&job).filter(|job| job.phase == Phase::Running) {
                        job.next_ms = job.next_ms.map(|next_ms| next_ms.max(now_ms + 2));
                        job.phase = if job.next_ms.is_some() { Phase::Waiting } else { Phase::GivenUp };
                    }
                }
                6 => {
                    agenda.hold(&job);
                    if let Some(job) = model.find(&job).filter(|job| job.phase == Phase::Running) {
                        job.phase = if job.next_ms.is_some() { Phase::Held } else { Phase::GivenUp };
                    }
                }
                _ => {
                    now_ms += noise.below(5) as u64;
                    let is_a = |job: &JobId| job.topic.as_str() == "a";
                    agenda.release(is_a);
                    let held = model.0.iter_mut().filter(|job| job.phase == Phase::Held && is_a(&job.id));
                    held.for_each(|job| job.phase = Phase::Waiting);
                }
            }
            check(&agenda, &model, seed);
        }
    }
}

fn check(agenda: &Agenda, model: &Model, seed: u64) {
    let mut expected = model.0.clone();
    expected.sort_by(|one, other| one.id.cmp(&other.id));
    let found: Vec<_> = agenda.after(None).map(|(id, slot)| (JobId::clone(id), slot)).collect();
    let slot = |job: &Job| (job.id.clone(), Slot { phase: job.phase, next_ms: job.next_ms, bytes: job.bytes });
    assert_eq!(found, expected.iter().map(slot).collect::<Vec<_>>(), "seed {seed}");
    if let Some((first, _)) = found.first() {
        assert_eq!(agenda.after(Some(first)).count(), found.len() - 1);
        let of_topic = expected.iter().filter(|job| job.id.topic == first.topic).count();
        assert_eq!(agenda.count_of_topic(first), of_topic as u64);
    }
    let bytes = expected.iter().map(|job| job.bytes).sum();
    assert_eq!(agenda.usage("p"), JobUsage { count: expected.len() as u64, bytes });
    let in_phase = |phase| expected.iter().filter(|job| job.phase == phase).count();
    assert_eq!(agenda.counts(), (expected.len(), in_phase(Phase::GivenUp), in_phase(Phase::Held)));
    let waiting = expected.iter().filter(|job| job.phase == Phase::Waiting);
    assert_eq!(agenda.next_due_ms(|_| true), waiting.filter_map(|job| job.next_ms).min());
    assert_eq!(agenda.has_held(), in_phase(Phase::Held) > 0);
}

#[test]
fn a_replaced_job_keeps_one_identity_and_fires_at_its_new_time() {
    let mut agenda = Agenda::default();
    agenda.put(id("a", "k"), Some(5), 1);
    agenda.put(id("a", "k"), Some(9), 1);
    assert_eq!((agenda.take_due(8, |_| true), agenda.next_due_ms(|_| true)), (None, Some(9)));
    let fired = agenda.take_due(9, |_| true).unwrap();
    // It is replaced while it is being tried: the new one isn't lost.
    agenda.put(id("a", "k"), Some(20), 1);
    assert_eq!(agenda.take_due(30, |_| true), None);
    agenda.ended(&fired, 0);
    assert_eq!(agenda.take_due(30, |_| true).as_deref(), Some(&*fired));
    agenda.remove(&fired);
    agenda.ended(&fired, 0);
    assert_eq!((agenda.next_due_ms(|_| true), Arc::strong_count(&fired)), (None, 1));
}

#[test]
fn a_plugin_with_many_due_jobs_does_not_hide_those_of_another() {
    let mut agenda = Agenda::default();
    for key in 0..9 {
        agenda.put(id("a", &key.to_string()), Some(1), 1);
    }
    let other = JobId { plugin: "q".into(), ..id("a", "k") };
    agenda.put(other.clone(), Some(5), 1);
    assert_eq!(agenda.next_due_ms(|plugin| plugin != "p"), Some(5));
    assert_eq!(agenda.take_due(9, |plugin| plugin != "p").as_deref(), Some(&other));
    assert_eq!((agenda.next_due_ms(|plugin| plugin != "p"), agenda.next_due_ms(|_| true)), (None, Some(1)));
}
