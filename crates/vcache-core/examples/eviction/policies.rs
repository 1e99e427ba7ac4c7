//! Owns the policies that were candidates, each as a simulation: which objects it holds, without their bytes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::AtomicU64;
use vcache_core::key::CacheKey;
use vcache_core::sketch::Sketch;

/// Something that holds objects of so many bytes together at most.
pub trait Policy {
    /// Asks for an object, which is stored if it is not there. Whether it was. `next`: when it is asked for again.
    fn request(&mut self, object: u32, bytes: u64, next: usize) -> bool;
}

/// What simulations know of each object.
#[derive(Clone, Copy, Default)]
struct Object {
    place: Place,
    uses: u8,
    bytes: u64,
    /// Neighbours in a list.
    newer: u32,
    older: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Debug)]
enum Place {
    #[default]
    Nowhere,
    First,
    Second,
    Third,
}

const NONE: u32 = u32::MAX;

/// A list of objects from the newest to the oldest.
struct List {
    newest: u32,
    oldest: u32,
    bytes: u64,
}

impl List {
    fn new() -> Self {
        Self { newest: NONE, oldest: NONE, bytes: 0 }
    }

    fn push(&mut self, objects: &mut [Object], object: u32) {
        let newest = self.newest;
        let new = &mut objects[object as usize];
        (new.newer, new.older) = (NONE, newest);
        self.bytes += new.bytes;
        *(if newest == NONE { &mut self.oldest } else { &mut objects[newest as usize].newer }) = object;
        self.newest = object;
    }

    fn push_back(&mut self, objects: &mut [Object], object: u32) {
        let oldest = self.oldest;
        let new = &mut objects[object as usize];
        (new.newer, new.older) = (oldest, NONE);
        self.bytes += new.bytes;
        *(if oldest == NONE { &mut self.newest } else { &mut objects[oldest as usize].older }) = object;
        self.oldest = object;
    }

    fn remove(&mut self, objects: &mut [Object], object: u32) {
        let Object { newer, older, bytes, .. } = objects[object as usize];
        *(if newer == NONE { &mut self.newest } else { &mut objects[newer as usize].older }) = older;
        *(if older == NONE { &mut self.oldest } else { &mut objects[older as usize].newer }) = newer;
        self.bytes -= bytes;
    }
}

/// One list, in which the oldest goes, unless something saves it.
pub struct Listed {
    kind: Kind,
    capacity: u64,
    objects: Vec<Object>,
    list: List,
    /// Where SIEVE goes on.
    hand: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Fifo,
    Lru,
    /// FIFO, in which what has been used goes around once more.
    Clock,
    /// Y. Zhang and others: SIEVE is simpler than LRU, NSDI 2024.
    Sieve,
}

impl Listed {
    pub fn new(kind: Kind, capacity: u64, objects: usize) -> Self {
        Self { kind, capacity, objects: vec![Object::default(); objects], list: List::new(), hand: NONE }
    }

    fn victim(&mut self) -> u32 {
        match self.kind {
            Kind::Fifo | Kind::Lru => self.list.oldest,
            Kind::Clock => loop {
                let oldest = self.list.oldest;
                if self.objects[oldest as usize].uses == 0 {
                    return oldest;
                }
                self.objects[oldest as usize].uses = 0;
                self.list.remove(&mut self.objects, oldest);
                self.list.push(&mut self.objects, oldest);
            },
            Kind::Sieve => loop {
                let hand = if self.hand == NONE { self.list.oldest } else { self.hand };
                let object = &mut self.objects[hand as usize];
                self.hand = object.newer;
                if object.uses == 0 {
                    return hand;
                }
                object.uses = 0;
            },
        }
    }
}

impl Policy for Listed {
    fn request(&mut self, object: u32, bytes: u64, _next: usize) -> bool {
        let known = &mut self.objects[object as usize];
        if known.place != Place::Nowhere {
            known.uses = 1;
            if self.kind == Kind::Lru {
                self.list.remove(&mut self.objects, object);
                self.list.push(&mut self.objects, object);
            }
            return true;
        }
        *known = Object { place: Place::First, bytes, ..Object::default() };
        while self.list.bytes + bytes > self.capacity {
            let victim = self.victim();
            self.list.remove(&mut self.objects, victim);
            self.objects[victim as usize].place = Place::Nowhere;
        }
        self.list.push(&mut self.objects, object);
        false
    }
}

/// J. Yang and others: FIFO queues are all you need for cache eviction, SOSP 2023. A tenth of the room for new objects, and a list of those
/// that have gone from there, which are let into the main queue at once.
pub struct S3Fifo {
    capacity: u64,
    objects: Vec<Object>,
    small: List,
    main: List,
    ghosts: VecDeque<(u32, u64)>,
    ghost_bytes: u64,
}

impl S3Fifo {
    pub fn new(capacity: u64, objects: usize) -> Self {
        let (small, main) = (List::new(), List::new());
        Self {
            capacity,
            objects: vec![Object::default(); objects],
            small,
            main,
            ghosts: VecDeque::new(),
            ghost_bytes: 0,
        }
    }

    fn evict(&mut self) {
        if self.small.bytes > self.capacity / 10 || self.main.bytes == 0 {
            let oldest = self.small.oldest;
            self.small.remove(&mut self.objects, oldest);
            let object = &mut self.objects[oldest as usize];
            if object.uses > 1 {
                (object.uses, object.place) = (0, Place::Second);
                self.main.push(&mut self.objects, oldest);
            } else {
                // Third: among the ghosts.
                object.place = Place::Third;
                self.ghosts.push_back((oldest, object.bytes));
                self.ghost_bytes += object.bytes;
                while self.ghost_bytes > self.capacity * 9 / 10
                    && let Some((ghost, bytes)) = self.ghosts.pop_front()
                {
                    self.ghost_bytes -= bytes;
                    let ghost = &mut self.objects[ghost as usize];
                    if ghost.place == Place::Third {
                        ghost.place = Place::Nowhere;
                    }
                }
            }
        } else {
            let oldest = self.main.oldest;
            self.main.remove(&mut self.objects, oldest);
            let object = &mut self.objects[oldest as usize];
            if object.uses > 0 {
                object.uses -= 1;
                self.main.push(&mut self.objects, oldest);
            } else {
                object.place = Place::Nowhere;
            }
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, object: u32, bytes: u64, _next: usize) -> bool {
        let known = &mut self.objects[object as usize];
        if matches!(known.place, Place::First | Place::Second) {
            known.uses = (known.uses + 1).min(3);
            return true;
        }
        while self.small.bytes + self.main.bytes + bytes > self.capacity {
            self.evict();
        }
        let known = &mut self.objects[object as usize];
        let was_ghost = known.place == Place::Third;
        let place = if was_ghost { Place::Second } else { Place::First };
        *known = Object { place, bytes, ..Object::default() };
        let list = if was_ghost { &mut self.main } else { &mut self.small };
        list.push(&mut self.objects, object);
        false
    }
}

/// How a [`TinyLfu`] differs from others.
#[derive(Clone, Copy)]
pub struct Shape {
    /// The part of the room that new objects have.
    pub window: f64,
    pub main: Main,
    pub worth: Worth,
}

/// How the main part is ordered.
#[derive(Clone, Copy, PartialEq)]
pub enum Main {
    /// By last use, in two segments, as in Caffeine.
    Lists,
    /// By arrival; what stays after a comparison stays at the tail.
    RingThatStays,
    /// By arrival; what stays goes to the head.
    Ring,
}

/// What something must have been asked for more often than, to be let in.
#[derive(Clone, Copy, PartialEq)]
pub enum Worth {
    /// Each that goes for it.
    Each,
    /// All together that go for it.
    Sum,
    /// The same, and by more than one, unless it is smaller than the last of them.
    SumAndLead,
}

/// G. Einziger, R. Friedman, B. Manes: TinyLFU, 2017.
pub struct TinyLfu {
    shape: Shape,
    capacity: u64,
    objects: Vec<Object>,
    window: List,
    main: List,
    protected: List,
    sketch: Vec<AtomicU64>,
    samples: u64,
    held: u64,
}

impl TinyLfu {
    pub fn new(shape: Shape, capacity: u64, objects: usize) -> Self {
        let sketch = (0..capacity / 8 / 128).map(|_| AtomicU64::new(0)).collect();
        let [window, main, protected] = [(); 3].map(|()| List::new());
        let objects = vec![Object::default(); objects];
        Self { shape, capacity, objects, window, main, protected, sketch, samples: 0, held: 0 }
    }

    fn window_capacity(&self) -> u64 {
        (self.capacity as f64 * self.shape.window) as u64
    }

    fn used(&mut self, object: u32) {
        if self.shape.main != Main::Lists {
            return;
        }
        let place = self.objects[object as usize].place;
        let objects = &mut self.objects;
        match place {
            Place::First => {
                self.window.remove(objects, object);
                self.window.push(objects, object);
            }
            Place::Second => {
                self.main.remove(objects, object);
                objects[object as usize].place = Place::Third;
                self.protected.push(objects, object);
                let most = (self.capacity as f64 * (1.0 - self.shape.window) * 0.8) as u64;
                while self.protected.bytes > most {
                    let oldest = self.protected.oldest;
                    self.protected.remove(objects, oldest);
                    objects[oldest as usize].place = Place::Second;
                    self.main.push(objects, oldest);
                }
            }
            Place::Third => {
                self.protected.remove(objects, object);
                self.protected.push(objects, object);
            }
            Place::Nowhere => {}
        }
    }

    /// The window's oldest either goes to the main part or altogether.
    fn leave_window(&mut self) {
        let candidate = self.window.oldest;
        self.window.remove(&mut self.objects, candidate);
        let bytes = self.objects[candidate as usize].bytes;
        let room = self.capacity - self.window_capacity();
        let (worth, mut cost) = (Sketch::new(&self.sketch).estimate(key(candidate)), 0);
        while self.main.bytes + self.protected.bytes + bytes > room {
            let list = if self.main.oldest == NONE { &mut self.protected } else { &mut self.main };
            let victim = list.oldest;
            list.remove(&mut self.objects, victim);
            let estimate = Sketch::new(&self.sketch).estimate(key(victim));
            cost = if self.shape.worth == Worth::Each { estimate } else { cost + estimate };
            let smaller = self.objects[victim as usize].bytes > bytes;
            let lead = u32::from(self.shape.worth == Worth::SumAndLead && !smaller);
            if worth <= cost + lead {
                if self.shape.main == Main::Ring {
                    self.main.push(&mut self.objects, victim);
                } else {
                    // Back to the tail, where it was.
                    self.main.push_back(&mut self.objects, victim);
                }
                self.objects[victim as usize].place = Place::Second;
                self.objects[candidate as usize].place = Place::Nowhere;
                self.held -= 1;
                return;
            }
            self.objects[victim as usize].place = Place::Nowhere;
            self.held -= 1;
        }
        let object = &mut self.objects[candidate as usize];
        object.place = Place::Second;
        self.main.push(&mut self.objects, candidate);
    }
}

/// The bits that stand for an object.
pub fn key(object: u32) -> CacheKey {
    let mut random = crate::traces::Random(u64::from(object) << 20);
    CacheKey(u128::from(random.bits()) << 64 | u128::from(random.bits()))
}

impl Policy for TinyLfu {
    fn request(&mut self, object: u32, bytes: u64, _next: usize) -> bool {
        if Sketch::new(&self.sketch).count(key(object)) {
            self.samples += 1;
        }
        if self.objects[object as usize].place != Place::Nowhere {
            self.used(object);
            return true;
        }
        while self.window.oldest != NONE && self.window.bytes + bytes > self.window_capacity() {
            self.leave_window();
        }
        self.objects[object as usize] = Object { place: Place::First, bytes, ..Object::default() };
        self.window.push(&mut self.objects, object);
        self.held += 1;
        if self.samples >= 10 * self.held.max(100) {
            Sketch::new(&self.sketch).halve();
            self.samples /= 2;
        }
        false
    }
}

/// What is asked for latest goes. With equal sizes nothing does better (L. Belady, 1966); with mixed sizes it is a good guess.
pub struct Optimum {
    capacity: u64,
    held: BTreeSet<(usize, u32)>,
    next: Vec<(usize, u64)>,
    bytes: u64,
}

impl Optimum {
    pub fn new(capacity: u64, objects: usize) -> Self {
        Self { capacity, held: BTreeSet::new(), next: vec![(0, 0); objects], bytes: 0 }
    }
}

impl Policy for Optimum {
    fn request(&mut self, object: u32, bytes: u64, next: usize) -> bool {
        let (known, _) = self.next[object as usize];
        let hit = self.held.remove(&(known, object));
        self.next[object as usize] = (next, bytes);
        self.held.insert((next, object));
        self.bytes += if hit { 0 } else { bytes };
        while self.bytes > self.capacity
            && let Some((_, last)) = self.held.pop_last()
        {
            self.bytes -= self.next[last as usize].1;
        }
        hit
    }
}
