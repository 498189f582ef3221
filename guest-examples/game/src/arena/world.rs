//! The world: runners, and lights that they catch. It is pure: time and random numbers are parameters.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

/// The distance that a runner covers in a second. You can change it during a round: everybody continues from their
/// position.
const SPEED: f32 = 340.0;

/// The width and height of the world.
const SIZE: [f32; 2] = [1600.0, 900.0];

/// The smallest distance between a runner's center and the edge.
const RADIUS: f32 = 34.0;

/// The distance at which a runner catches a light.
const REACH: f32 = 56.0;

/// The number of lights at one time.
const LIGHTS: usize = 7;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct World {
    runners: BTreeMap<u8, Runner>,
    lights: BTreeMap<u32, [f32; 2]>,
    lit: u32,
}

#[derive(Serialize, Deserialize)]
struct Runner {
    at: [f32; 2],
    /// The direction, of a length of at most 1.
    way: [f32; 2],
}

impl World {
    /// Adds a runner at its own place around the middle.
    pub(crate) fn enter(&mut self, seat: u8) {
        let (sin, cos) = (f32::from(seat) * std::f32::consts::FRAC_PI_4).sin_cos();
        let at = [SIZE[0] / 2.0 - 300.0 * cos, SIZE[1] / 2.0 - 300.0 * sin];
        self.runners.entry(seat).or_insert(Runner { at, way: [0.0; 2] });
    }

    pub(crate) fn remove(&mut self, seat: u8) {
        self.runners.remove(&seat);
    }

    /// Puts all runners back to their first places, and removes the lights.
    pub(crate) fn restart(&mut self) {
        let runners = std::mem::take(&mut self.runners);
        self.lights.clear();
        for (seat, runner) in runners {
            self.enter(seat);
            // A player that holds a key down does not have to press it again.
            self.turn(seat, runner.way);
        }
    }

    /// Changes a runner's direction. A longer vector doesn't make the runner faster.
    pub(crate) fn turn(&mut self, seat: u8, [x, y]: [f32; 2]) {
        let length = x.hypot(y).max(1.0);
        let way = [x / length, y / length];
        if let Some(runner) = self.runners.get_mut(&seat)
            && way.iter().all(|part| part.is_finite())
        {
            runner.way = way;
        }
    }

    /// Lets some seconds pass. Returns the seats that have caught a light, once for each light.
    pub(crate) fn step(&mut self, seconds: f32, mut random: impl FnMut() -> u64) -> Vec<u8> {
        let mut caught = Vec::new();
        for (&seat, runner) in &mut self.runners {
            for (axis, at) in runner.at.iter_mut().enumerate() {
                *at = (*at + runner.way[axis] * SPEED * seconds).clamp(RADIUS, SIZE[axis] - RADIUS);
            }
            let [x, y] = runner.at;
            self.lights.retain(|_, light| {
                let is_far = (light[0] - x).hypot(light[1] - y) > REACH;
                if !is_far {
                    caught.push(seat);
                }
                is_far
            });
        }
        while self.lights.len() < LIGHTS {
            let place = [0, 1].map(|axis| RADIUS + (SIZE[axis] - 2.0 * RADIUS) * (random() % 1000) as f32 / 1000.0);
            self.lights.insert(self.lit, place);
            self.lit += 1;
        }
        caught
    }

    /// Returns a runner's position, rounded to whole numbers: nobody sees a smaller difference, and its digits would be
    /// sent to each member.
    pub(crate) fn place(&self, seat: u8) -> Option<[i32; 2]> {
        self.runners.get(&seat).map(|runner| whole(runner.at))
    }

    /// Returns the lights by their numbers. So the change for a caught light has only a few bytes.
    pub(crate) fn lights(&self) -> Value {
        Value::Object(self.lights.iter().map(|(number, at)| (number.to_string(), json!(whole(*at)))).collect())
    }
}

fn whole(at: [f32; 2]) -> [i32; 2] {
    at.map(|part| part.round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let mut world = World::default();
        world.enter(0);
        world.enter(4);
        world
    }

    /// A random number that puts all lights into a corner, away from the runners' first places.
    fn far() -> u64 {
        0
    }

    #[test]
    fn a_runner_has_one_speed_and_stops_at_the_edge() {
        let mut world = world();
        assert_eq!((world.place(0), world.place(4)), (Some([500, 450]), Some([1100, 450])));
        world.turn(0, [3.0, 4.0]);
        world.step(0.5, far);
        assert_eq!(world.place(0), Some([500 + 102, 450 + 136]));
        world.turn(0, [0.0, 0.5]);
        world.step(0.1, far);
        assert_eq!(world.place(0), Some([602, 586 + 17]));
        world.turn(0, [-1.0, -1.0]);
        world.step(60.0, far);
        assert_eq!((world.place(0), world.place(4)), (Some([34, 34]), Some([1100, 450])));
    }

    #[test]
    fn a_light_is_caught_once_and_replaced() {
        let mut world = world();
        assert!(world.step(0.05, far).is_empty());
        assert_eq!(world.lights().as_object().unwrap().len(), LIGHTS);
        world.turn(0, [-1.0, -1.0]);
        let caught = world.step(60.0, || 999);
        assert_eq!(caught, vec![0; LIGHTS], "the runner catches all lights in the corner");
        assert_eq!(world.lights().as_object().unwrap().keys().next().unwrap(), "10");
        assert!(world.step(0.05, far).is_empty());
    }

    #[test]
    fn a_runner_keeps_its_direction_after_a_restart() {
        let mut world = world();
        world.turn(0, [1.0, 0.0]);
        world.step(1.0, far);
        world.restart();
        assert_eq!((world.place(0), world.lights()), (Some([500, 450]), json!({})));
        world.step(0.5, far);
        assert_eq!(world.place(0), Some([670, 450]));
        world.turn(0, [f32::INFINITY, 0.0]);
        world.step(0.5, far);
        assert_eq!(world.place(0), Some([840, 450]), "an invalid direction is ignored");
    }
}
