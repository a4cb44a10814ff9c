//! Owns numbered places: what is put in gets a number that finds it in one step. Never says the
//! same number twice: it is a place and the count of the place's uses.
//! Invariant: a number whose thing was taken finds nothing, whatever stands in its place now.

/// Things by number.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    uses: u32,
    thing: Option<T>,
}

impl<T> Slots<T> {
    /// None yet.
    pub fn new() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }

    /// Puts a thing in and answers its number.
    pub fn insert(&mut self, thing: T) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            let at = u32::try_from(self.places.len()).expect("memory ends before");
            self.places.push(Place { uses: 0, thing: None });
            at
        });
        let place = &mut self.places[at as usize];
        assert!(place.thing.is_none());
        place.uses = place.uses.wrapping_add(1);
        place.thing = Some(thing);
        number(place.uses, at)
    }

    /// The thing of this number, if it is still there.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.places.get_mut(number as u32 as usize)?;
        if place.uses == (number >> 32) as u32 { place.thing.as_mut() } else { None }
    }

    /// Takes it out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let at = number as u32;
        let place = self.places.get_mut(at as usize)?;
        if place.uses != (number >> 32) as u32 {
            return None;
        }
        let thing = place.thing.take()?;
        self.free.push(at);
        Some(thing)
    }

    /// Takes everything out. Numbers that were said find nothing from here on.
    pub fn clear(&mut self) {
        for (at, place) in (0..).zip(&mut self.places) {
            if place.thing.take().is_some() {
                self.free.push(at);
            }
        }
    }

    /// All things, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        (0..).zip(&self.places).filter_map(|(at, place)| {
            place.thing.as_ref().map(|thing| (number(place.uses, at), thing))
        })
    }
}

fn number(uses: u32, at: u32) -> u64 {
    u64::from(uses) << 32 | u64::from(at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base::Prng;

    use super::*;

    #[test]
    fn a_number_finds_its_own_thing_or_nothing() {
        let mut dice = Prng::from_seed(5);
        let mut slots = Slots::new();
        let (mut there, mut gone) = (BTreeMap::new(), Vec::new());
        for thing in 0..3000 {
            if dice.chance(550) {
                assert_eq!(there.insert(slots.insert(thing), thing), None, "said once");
            } else if let Some(number) =
                there.keys().nth(dice.below(there.len().max(1) as u64) as usize).copied()
            {
                assert_eq!(slots.remove(number), there.remove(&number));
                gone.push(number);
            }
            assert_eq!(slots.iter().count(), there.len());
        }
        for (number, thing) in &there {
            assert_eq!(slots.get_mut(*number).copied(), Some(*thing));
        }
        for number in gone {
            assert_eq!(slots.get_mut(number), None);
            assert_eq!(slots.remove(number), None);
        }
        let mut all: Vec<_> = slots.iter().map(|(number, thing)| (number, *thing)).collect();
        all.sort_unstable();
        assert_eq!(all, there.into_iter().collect::<Vec<_>>());
    }
}
