//! The verdicts, on a clock of the test.

use super::*;

/// A host on which everything is well, except what the test changes.
const WELL: Present<'static> = Present { failure: None, store_trouble: None, cluster_troubles: &[], is_served: true };

struct Test {
    health: Health,
    now: Instant,
}

impl Test {
    /// A host whose first test has passed.
    fn passed() -> Self {
        let mut test = Self { health: Health::default(), now: Instant::now() };
        test.run(&[]);
        test
    }

    /// Runs one test, in which these checks don't answer.
    fn run(&mut self, silent: &[Check]) {
        self.now += TEST_INTERVAL;
        for check in self.health.begin_test(self.now).into_iter().filter(|check| !silent.contains(check)) {
            self.health.answer(check, self.now, Ok(()));
        }
    }

    fn dead(&self) -> String {
        self.health.dead(self.now, WELL).join("; ")
    }

    fn unready(&self) -> String {
        self.health.unready(self.now, WELL).join("; ")
    }
}

#[test]
fn a_host_is_alive_before_its_first_test_and_ready_after_it() {
    let (health, now) = (Health::default(), Instant::now());
    assert_eq!(health.dead(now, WELL), Reasons::new());
    assert_eq!(health.unready(now, WELL).len(), Check::ALL.len());
    let test = Test::passed();
    assert_eq!((test.dead(), test.unready()), (String::new(), String::new()));
}

#[test]
fn a_part_that_does_not_answer_makes_the_host_unready_and_then_dead() {
    for check in Check::ALL {
        let mut test = Test::passed();
        let most = if check == Check::Store { UNANSWERED_BY_STORE_MAX } else { UNANSWERED_MAX };
        for _ in 1..OLD {
            test.run(&[check]);
            assert_eq!(test.unready(), "", "{check:?}");
        }
        for _ in OLD..=most {
            test.run(&[check]);
            assert_eq!(test.unready(), format!("{} has not answered the last self-tests", check.part()));
            assert_eq!(test.dead(), "");
        }
        test.run(&[check]);
        assert!(test.dead().starts_with(&format!("{} has not answered for", check.part())), "{}", test.dead());
        // It answers the first question at last.
        test.health.answer(check, test.now, Ok(()));
        assert_eq!((test.dead(), test.unready()), (String::new(), String::new()));
    }
}

#[test]
fn a_store_that_refuses_is_unready_for_ever_and_never_dead() {
    let mut test = Test::passed();
    for _ in 0..100 {
        test.now += TEST_INTERVAL;
        for check in test.health.begin_test(test.now) {
            let result = if check == Check::Store { Err("no space left on device".to_owned()) } else { Ok(()) };
            test.health.answer(check, test.now, result);
        }
        assert_eq!((test.dead(), test.unready()), (String::new(), "the store: no space left on device".to_owned()));
    }
    test.run(&[]);
    assert_eq!(test.unready(), "");
}

#[test]
fn a_timer_that_does_not_fire_makes_the_host_unready_and_then_dead() {
    let mut test = Test::passed();
    let timer = |test: &Test| test.health.checks(test.now)[Check::Timer as usize].1.is_up();
    let (began, ms) = (test.now, Duration::from_millis(1));
    test.now = began + LATE_TEST;
    assert_eq!((test.unready(), timer(&test)), (String::new(), true));
    test.now += ms;
    let late = "no self-test has begun for 15 s";
    assert_eq!((test.dead(), test.unready(), timer(&test)), (String::new(), late.to_owned(), false));
    assert_eq!(test.health.checks(test.now)[Check::Timer as usize].1.failure(), Some(late));
    test.now = began + NO_TEST;
    assert_eq!(test.dead(), "");
    test.now += ms;
    let none = "no self-test has begun for 30 s";
    assert_eq!((test.dead(), test.unready(), timer(&test)), (none.to_owned(), none.to_owned(), false));
    // Only the timer has failed, and it works again with the next test.
    assert!(test.health.checks(test.now).iter().all(|(check, state)| state.is_up() == (*check != Check::Timer)));
    test.run(&[]);
    assert_eq!((test.dead(), test.unready(), timer(&test)), (String::new(), String::new(), true));
}

#[test]
fn what_the_host_knows_itself_counts_at_once() {
    let test = Test::passed();
    let ask =
        |present| (test.health.dead(test.now, present).join("; "), test.health.unready(test.now, present).join("; "));
    let no_plugin = Present { is_served: false, ..WELL };
    assert_eq!(ask(no_plugin), (String::new(), "no plugin serves".to_owned()));
    let trouble = Present { store_trouble: Some("full"), ..WELL };
    assert_eq!(ask(trouble), (String::new(), "the store refuses writes: full".to_owned()));
    let troubles = ["suspended".to_owned(), "a plugin isn't served".to_owned()];
    let in_cluster = Present { cluster_troubles: &troubles, ..WELL };
    assert_eq!(ask(in_cluster), (String::new(), "suspended; a plugin isn't served".to_owned()));
    let failed = Present { failure: Some("a task has ended"), ..WELL };
    assert_eq!(ask(failed), ("a task has ended".to_owned(), "a task has ended".to_owned()));
    test.health.set_draining(Some(Draining::Stopping));
    assert_eq!((test.dead(), test.unready()), (String::new(), "the host is stopping".to_owned()));
}

/// The library holds still meanwhile, and the store may be another process's. So neither is asked, and neither counts.
#[test]
fn a_host_that_hands_over_is_unready_and_is_not_tested() {
    let mut test = Test::passed();
    test.health.set_draining(Some(Draining::HandingOver));
    for _ in 0..2 * UNANSWERED_BY_STORE_MAX {
        test.now += TEST_INTERVAL;
        assert_eq!(test.health.begin_test(test.now), []);
        let unready = "the host hands its work over to another process".to_owned();
        assert_eq!((test.dead(), test.unready()), (String::new(), unready));
    }
    test.health.set_draining(None);
    assert_eq!((test.dead(), test.unready()), (String::new(), String::new()));
}

#[tokio::test]
async fn who_waits_for_a_request_to_stop_hears_of_it_whenever_it_was_made() {
    let health = Health::default();
    tokio::join!(health.asked_to_stop(), async { health.ask_to_stop() });
    health.asked_to_stop().await;
}
