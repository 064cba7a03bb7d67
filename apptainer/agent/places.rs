//! Numbered places for things that come and go.

use crate::pages::List;
use crate::sys::Result;

/// A place, for as long as one thing is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How many bits of a generation there is room for in an event.
pub(crate) const GENERATION_BITS: u32 = 24;

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

pub(crate) struct Places<T> {
    places: List<Place<T>>,
}

impl<T> Places<T> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            places: List::new()?,
        })
    }

    pub(crate) fn insert(&mut self, value: T) -> Result<Key> {
        let free = self.places.iter().position(|place| place.value.is_none());
        let index = if let Some(index) = free {
            index
        } else {
            self.places.push(Place {
                generation: 0,
                value: None,
            })?;
            self.places.len() - 1
        };
        let place = &mut self.places[index];
        place.value = Some(value);
        Ok(Key {
            index: index as u32,
            generation: place.generation,
        })
    }

    pub(crate) fn at(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        let is_its = place.generation == key.generation;
        is_its.then_some(place.value.as_ref()).flatten()
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        let is_its = place.generation == key.generation;
        is_its.then_some(place.value.as_mut()).flatten()
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(place) = self.places.get_mut(key.index as usize)
            && place.generation == key.generation
        {
            place.value = None;
            place.generation = (place.generation + 1) % (1 << GENERATION_BITS);
        }
    }

    /// The key of the first that `wanted` is true of.
    pub(crate) fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<Key> {
        self.find_from(0, wanted)
    }

    /// The same, from this place on.
    pub(crate) fn find_from(&self, first: u32, wanted: impl Fn(&T) -> bool) -> Option<Key> {
        let mut places = self.places.iter().enumerate().skip(first as usize);
        let (index, place) = places.find(|(_, place)| place.value.as_ref().is_some_and(&wanted))?;
        Some(Key {
            index: index as u32,
            generation: place.generation,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let places = self.places.iter_mut();
        places.filter_map(|place| place.value.as_mut())
    }
}
