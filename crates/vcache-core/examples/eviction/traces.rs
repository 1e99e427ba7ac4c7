//! Owns the requests that policies are measured with.

/// Random numbers from a seed: SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to 1, without 1.
    pub fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A sequence of requests for objects, numbered from 0.
pub struct Trace {
    pub name: String,
    pub requests: Vec<u32>,
    /// Bytes of each object.
    pub sizes: Vec<u32>,
}

/// How large objects are.
#[derive(Clone, Copy)]
pub enum Sizes {
    /// 4 kB, a usual answer of ten rows.
    Equal,
    /// From 512 bytes to 32 kB, each power of two as often as any other.
    Mixed,
    /// 450 bytes, ten rows without payload.
    Small,
}

impl Sizes {
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "4 kB each",
            Self::Mixed => "512 bytes to 32 kB",
            Self::Small => "450 bytes each",
        }
    }

    fn draw(self, random: &mut Random) -> u32 {
        match self {
            Self::Equal => 4096,
            Self::Mixed => (512.0 * (random.part() * 6.0).exp2()) as u32,
            Self::Small => 450,
        }
    }

    /// Of how many bytes they are in the mean.
    pub fn mean(self) -> f64 {
        match self {
            Self::Equal => 4096.0,
            Self::Mixed => 512.0 * 63.0 / (6.0 * std::f64::consts::LN_2),
            Self::Small => 450.0,
        }
    }
}

/// Draws ranks from 0, rank r in proportion to 1/(r + 1)^s, by a table of sums.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(objects: usize, s: f64) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=objects)
                .map(|rank| {
                    sum += (rank as f64).powf(-s);
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let at = random.part() * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|sum| *sum <= at) as u32
    }
}

/// All traces, for a cache that holds `held` objects of mean size.
pub fn all(held: usize, sizes: Sizes) -> Vec<Trace> {
    let objects = held * 10;
    let length = held * if held > 100_000 { 30 } else { 120 };
    let random = &mut Random(42);
    let mut traces = Vec::new();
    let mut add = |name: &str, requests: Vec<u32>, random: &mut Random| {
        let objects = requests.iter().max().map_or(0, |last| last + 1);
        let sizes = (0..objects).map(|_| sizes.draw(random)).collect();
        traces.push(Trace { name: name.into(), requests, sizes });
    };
    for s in [0.8, 1.0, 1.2] {
        let zipf = Zipf::new(objects, s);
        add(&format!("Zipf({s:.1})"), (0..length).map(|_| zipf.draw(random)).collect(), random);
    }
    let zipf = Zipf::new(objects, 1.0);
    // In the middle third every other request is for something that is asked for once: twenty caches full.
    let mut once = objects as u32;
    let scan = (0..length).map(|at| {
        if at / (length / 3) == 1 && at % 2 == 0 {
            once += 1;
            once
        } else {
            zipf.draw(random)
        }
    });
    let scan = scan.collect();
    add("Zipf(1.0), scan", scan, random);
    let looped = held * 11 / 10;
    add("loop, 1.1 caches", (0..length).map(|at| (at % looped) as u32).collect(), random);
    // Half way other objects become the frequent ones.
    let shift = (0..length).map(|at| zipf.draw(random) + if at < length / 2 { 0 } else { objects as u32 }).collect();
    add("Zipf(1.0), shift", shift, random);
    // With each hundredth request a rank goes to a new object.
    let mut of_rank: Vec<u32> = (0..objects as u32).collect();
    let mut newest = objects as u32;
    let drift = (0..length).map(|at| {
        if at % 100 == 0 {
            let rank = zipf.draw(random) as usize;
            of_rank[rank] = newest;
            newest += 1;
        }
        of_rank[zipf.draw(random) as usize]
    });
    let drift = drift.collect();
    add("Zipf(1.0), drift", drift, random);
    traces
}
