//! Owns one way from one place to another: what it does to frames, and when they arrive.
//! Never touches a clock or a file. Invariant: frames of one way never overtake each other.

use base::Prng;

/// Bytes that wait for a slow way; what comes then is lost, as at any router.
pub const BACKLOG_BYTES_MAX: u64 = 256 << 10;

/// What a way does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Nothing arrives.
    pub cut: bool,
    /// Every frame is late by this.
    pub delay_us: u64,
    /// And by up to this much more.
    pub jitter_us: u64,
    /// Frames that are lost, in a million.
    pub loss_ppm: u64,
    /// Most bytes in a second; 0 for no limit.
    pub bytes_per_s: u64,
}

/// A way and what is on it.
#[derive(Debug, Default)]
pub struct Link {
    /// What it does.
    pub shape: Shape,
    /// When it has sent everything that it took, in µs.
    free_us: u64,
    /// When the last frame arrives, in µs.
    last_us: u64,
}

impl Link {
    /// When a frame of `bytes` that enters at `now_us` arrives; `None` if it never does.
    pub fn send(&mut self, now_us: u64, bytes: u64, dice: &mut Prng) -> Option<u64> {
        let Shape { cut, delay_us, jitter_us, loss_ppm, bytes_per_s } = self.shape;
        if cut || (0 < loss_ppm && dice.below(1_000_000) < loss_ppm) {
            return None;
        }
        let mut sent_us = now_us;
        if 0 < bytes_per_s {
            let begin_us = self.free_us.max(now_us);
            if BACKLOG_BYTES_MAX < (begin_us - now_us) * bytes_per_s / 1_000_000 {
                return None;
            }
            sent_us = begin_us + bytes * 1_000_000 / bytes_per_s;
            self.free_us = sent_us;
        }
        let jitter_us = if 0 < jitter_us { dice.below(jitter_us) } else { 0 };
        self.last_us = self.last_us.max(sent_us + delay_us + jitter_us);
        Some(self.last_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(shape: Shape) -> Link {
        Link { shape, ..Link::default() }
    }

    #[test]
    fn a_way_without_a_shape_is_not_there() {
        let mut dice = Prng::from_seed(1);
        let mut way = link(Shape::default());
        assert_eq!(way.send(7, 1500, &mut dice), Some(7));
        assert_eq!(way.send(8, 1500, &mut dice), Some(8));
    }

    #[test]
    fn frames_are_late_and_stay_in_order() {
        let mut dice = Prng::from_seed(2);
        let mut way = link(Shape { delay_us: 50_000, jitter_us: 30_000, ..Shape::default() });
        let mut last = 0;
        for now in 0..1000 {
            let at = way.send(now, 60, &mut dice).expect("nothing is lost");
            assert!(now + 50_000 <= at && at < now + 81_000);
            assert!(last <= at);
            last = at;
        }
    }

    #[test]
    fn a_slow_way_takes_its_time_and_then_no_more() {
        let mut dice = Prng::from_seed(3);
        let mut way = link(Shape { bytes_per_s: 1_000_000, ..Shape::default() });
        assert_eq!(way.send(0, 1000, &mut dice), Some(1000));
        assert_eq!(way.send(0, 1000, &mut dice), Some(2000));
        let taken = (0..1000).filter(|_| way.send(0, 1000, &mut dice).is_some()).count() as u64;
        assert!((BACKLOG_BYTES_MAX / 1000 - 3..=BACKLOG_BYTES_MAX / 1000 + 3).contains(&taken));
    }

    #[test]
    fn losses_are_as_many_as_was_said() {
        let mut dice = Prng::from_seed(4);
        let mut way = link(Shape { loss_ppm: 50_000, ..Shape::default() });
        let lost = (0..100_000).filter(|_| way.send(0, 60, &mut dice).is_none()).count();
        assert!((4_000..6_000).contains(&lost), "{lost}");
        way.shape = Shape { cut: true, ..Shape::default() };
        assert_eq!(way.send(0, 60, &mut dice), None);
    }
}
