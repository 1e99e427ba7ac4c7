//! Owns the way to the node of a Redis Cluster that has a key.
//!
//! Which master has which slots is asked of any node when it is first needed, and again, at most once in a second, after
//! something said that it has changed: a redirection, a node that failed, a cluster that is down. Each master is connected to when
//! a key of its is first needed. All this happens within the time of the one operation that needs it.
//!
//! Each node has breakers of its own: until another node has taken the slots of one that died, searches for its keys should not
//! all wait for it, and searches for other keys should find theirs.

use super::breaker::{Breakers, Purpose};
use super::connection::Error;
use super::endpoint::Endpoint;
use super::link::{Command, Deadlines, Link};
use super::topology::{self, Range};
use ::redis::{Value, cmd};
use std::ffi::{CStr, CString};
use std::fmt;
use std::time::{Duration, Instant};
use vcache_core::cluster::{self, Redirect, SLOTS, Target};

/// How often a command may be sent on.
const MAX_REDIRECTS: u32 = 5;
/// The specification has 1,000 nodes as the most that is reasonable.
const MAX_NODES: usize = 1000;
/// Connections of one backend; each takes two files.
const MAX_CONNECTIONS: usize = 64;
/// What asking for the map again must wait for.
const MAP_PAUSE: Duration = Duration::from_secs(1);
/// How many nodes are asked for the map in one operation.
const MAP_TRIES: usize = 3;
/// Stands for no node in the map.
const NONE: u16 = u16::MAX;

pub struct Cluster {
    url: CString,
    seeds: Vec<Endpoint>,
    nodes: Vec<Node>,
    /// The node of each slot: empty as long as nobody has said.
    slots: Vec<u16>,
    /// Some slots have a master whose address nobody tells.
    untold: bool,
    /// Something said that the map has changed.
    stale: bool,
    asked: Option<Instant>,
    /// Which of the nodes and seeds is asked for the map next. Backends begin at different ones.
    next: usize,
    /// The node that was used last.
    last: usize,
    /// Those of whoever was asked last.
    breakers: Breakers,
    /// Counts uses.
    clock: u64,
}

struct Node {
    target: Target,
    link: Link,
    breakers: Breakers,
    /// The clock when it was used last.
    used: u64,
}

impl Cluster {
    pub fn new(url: CString, seeds: Vec<Endpoint>) -> Self {
        let (nodes, slots, breakers) = (Vec::new(), Vec::new(), Breakers::of(&url, None));
        let next = std::process::id() as usize;
        Self { url, seeds, nodes, slots, untold: false, stale: false, asked: None, next, last: 0, breakers, clock: 0 }
    }

    /// Runs one command on the node that has this key.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn run(
        &mut self,
        purpose: Purpose,
        key: &[u8],
        command: &Command,
        deadlines: &Deadlines,
    ) -> Result<Value, Error> {
        let pausing = self.asked.is_some_and(|asked| asked.elapsed() < MAP_PAUSE);
        if self.slots.is_empty() || (self.stale && !pausing) {
            let learned = self.learn(purpose, deadlines);
            if self.slots.is_empty() {
                learned?;
            }
        }
        let slot = cluster::slot(key);
        let owner = self.slots.get(usize::from(slot)).map(|node| usize::from(*node));
        let Some(mut number) = owner.filter(|node| *node < self.nodes.len()) else {
            self.stale = true;
            return Err(Error::NoOwner);
        };
        let asking = Command::plain(&cmd("ASKING"));
        let (moved, asked): (&[&Command], &[&Command]) = (&[command], &[&asking, command]);
        let mut commands = moved;
        for _ in 0..=MAX_REDIRECTS {
            let redirect = match self.run_on(number, purpose, commands, deadlines) {
                Err(Error::Redirected(redirect)) if redirect.slot == slot => redirect,
                Err(error) => {
                    self.stale = true;
                    return Err(error);
                }
                result => return result,
            };
            let said_by = self.nodes.get(number).map_or("", |node| &node.target.host);
            number = self.number(redirect.target.said_by(said_by))?;
            commands = if redirect.ask { asked } else { moved };
            if !redirect.ask {
                self.stale = true;
                if let Some(node) = self.slots.get_mut(usize::from(slot)) {
                    *node = as_u16(number);
                }
            }
        }
        self.stale = true;
        Err(Error::Circles)
    }

    /// Asks for the map, and gives the number of masters; one more stands for those whose address nobody tells.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn masters(&mut self, purpose: Purpose) -> Result<usize, Error> {
        self.learn(purpose, &Deadlines::begin())?;
        Ok(self.nodes.len() + usize::from(self.untold))
    }

    /// Runs one command on a node, by its number. As long as no other kind of command is run they stay the same.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn run_at(
        &mut self,
        number: usize,
        purpose: Purpose,
        command: &Command,
        deadlines: &Deadlines,
    ) -> Result<Value, Error> {
        if number >= self.nodes.len() {
            return Err(Error::Untold);
        }
        match self.run_on(number, purpose, &[command], deadlines) {
            // Of a slot that is on its way to this node, it is asked for the keys that have arrived by those who say ASKING.
            Err(Error::Redirected(Redirect { ask: false, .. })) => {
                let asking = Command::plain(&cmd("ASKING"));
                self.run_on(number, purpose, &[&asking, command], deadlines)
            }
            result => result,
        }
    }

    fn run_on(
        &mut self,
        number: usize,
        purpose: Purpose,
        commands: &[&Command],
        deadlines: &Deadlines,
    ) -> Result<Value, Error> {
        self.last = number;
        self.clock += 1;
        self.make_room(number);
        let clock = self.clock;
        let node = self.nodes.get_mut(number).ok_or(Error::NoOwner)?;
        node.used = clock;
        self.breakers = node.breakers;
        let result = node.run(purpose, |link| link.run(commands, deadlines));
        if result != Err(Error::Descriptors) {
            return result;
        }
        self.nodes.iter_mut().for_each(|node| node.link.close());
        self.nodes.get_mut(number).ok_or(Error::NoOwner)?.run(purpose, |link| link.run(commands, deadlines))
    }

    /// Closes the connection that was not used for longest, if this node needs one and there are as many as may be.
    fn make_room(&mut self, number: usize) {
        if self.nodes.get(number).is_some_and(|node| node.link.is_open()) {
            return;
        }
        let open = || self.nodes.iter().filter(|node| node.link.is_open());
        if open().count() < MAX_CONNECTIONS {
            return;
        }
        if let Some(oldest) = self.nodes.iter_mut().filter(|node| node.link.is_open()).min_by_key(|node| node.used) {
            oldest.link.close();
        }
    }

    /// The node at this address, which may be a new one.
    fn number(&mut self, target: Target) -> Result<usize, Error> {
        if let Some(number) = self.nodes.iter().position(|node| node.target == target) {
            return Ok(number);
        }
        if self.nodes.len() >= MAX_NODES {
            // No cluster is like that: what was learned is forgotten.
            (self.nodes, self.slots) = (Vec::new(), Vec::new());
            return Err(Error::Circles);
        }
        self.nodes.push(Node::new(&self.url, self.seeds.first().ok_or(Error::NoOwner)?, target));
        Ok(self.nodes.len() - 1)
    }

    /// Asks some of the nodes and seeds, one after the other, for the map. Each has its share of the time, so that one that hangs
    /// leaves some to the others and to the command.
    fn learn(&mut self, purpose: Purpose, deadlines: &Deadlines) -> Result<(), Error> {
        self.asked = Some(Instant::now());
        let candidates = self.nodes.len() + self.seeds.len();
        let mut left = candidates.min(MAP_TRIES);
        let mut last = Error::LeftAlone;
        for _ in 0..candidates {
            self.next = self.next.wrapping_add(1) % candidates;
            match self.ask(self.next, purpose, &deadlines.share(left + 1)) {
                None | Some(Err(Error::LeftAlone)) => continue,
                Some(Ok(ranges)) => return self.take_over(ranges),
                Some(Err(error)) => last = error,
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        Err(last)
    }

    /// Asks one of the nodes, or of the seeds after them; `None` for a seed that is one of the nodes.
    fn ask(&mut self, candidate: usize, purpose: Purpose, deadlines: &Deadlines) -> Option<Result<Vec<Range>, Error>> {
        let Some(seed) = candidate.checked_sub(self.nodes.len()) else {
            self.make_room(candidate);
            let node = self.nodes.get_mut(candidate)?;
            self.breakers = node.breakers;
            return Some(node.ask_for_map(purpose, deadlines));
        };
        let endpoint = self.seeds.get(seed)?;
        let target = endpoint.target()?;
        if self.nodes.iter().any(|node| node.target == target) {
            return None;
        }
        let mut seed = Node::new(&self.url, endpoint, target);
        self.breakers = seed.breakers;
        Some(seed.ask_for_map(purpose, deadlines))
    }

    /// Replaces the map by a new one. Connections to nodes that are still in it stay.
    fn take_over(&mut self, ranges: Vec<Range>) -> Result<(), Error> {
        let template = self.seeds.first().ok_or(Error::NoOwner)?;
        let mut masters: Vec<Target> = Vec::new();
        let (mut slots, mut untold) = (vec![NONE; usize::from(SLOTS)], false);
        for Range { slots: range, master } in ranges {
            let Some(master) = master else {
                untold = true;
                continue;
            };
            let number = match masters.iter().position(|known| *known == master) {
                Some(number) => number,
                None if masters.len() >= MAX_NODES => return Err(Error::Unexpected),
                None => {
                    masters.push(master);
                    masters.len() - 1
                }
            };
            let (first, end) = (usize::from(*range.start()), usize::from(*range.end()) + 1);
            if let Some(slots) = slots.get_mut(first..end) {
                slots.fill(as_u16(number));
            }
        }
        let mut node = |master| match self.nodes.iter().position(|node| node.target == master) {
            Some(old) => self.nodes.swap_remove(old),
            None => Node::new(&self.url, template, master),
        };
        let nodes = masters.into_iter().map(&mut node).collect();
        self.untold = untold;
        (self.nodes, self.slots, self.stale, self.last) = (nodes, slots, false, 0);
        Ok(())
    }

    /// Those of the node that was asked last.
    pub fn breakers(&self) -> Breakers {
        self.breakers
    }

    /// Why nothing is stored on one of the nodes.
    pub fn why_not_stored(&self) -> Option<String> {
        self.nodes.iter().find_map(|node| node.breakers.why_not_stored())
    }
}

impl Node {
    fn new(url: &CStr, template: &Endpoint, target: Target) -> Self {
        let link = Link::new(template.at(&target));
        let breakers = Breakers::of(url, Some(&target));
        Self { target, link, breakers, used: 0 }
    }

    /// What becomes of it if its breakers let it.
    fn run<T>(&mut self, purpose: Purpose, ask: impl FnOnce(&mut Link) -> Result<T, Error>) -> Result<T, Error> {
        let attempt = self.breakers.admit(purpose, || self.name())?;
        let result = ask(&mut self.link);
        attempt.ended(purpose, &result, || self.name());
        result
    }

    /// Asks for the map. One that gives it may all the same refuse to read (CLUSTERDOWN): of one that is a master the next command
    /// tells; of another, which is asked for nothing else, this does.
    fn ask_for_map(&mut self, purpose: Purpose, deadlines: &Deadlines) -> Result<Vec<Range>, Error> {
        let purpose = if purpose == Purpose::Flush { purpose } else { Purpose::Map };
        let result = self.run(purpose, |link| topology::ask(link, deadlines));
        if result.as_ref().is_ok_and(|ranges| ranges.iter().all(|range| range.master.as_ref() != Some(&self.target))) {
            self.breakers.reads.answered(|| self.name());
        }
        result
    }

    /// For the log.
    fn name(&self) -> String {
        format!("{}, a node of a cluster,", self.target)
    }
}

/// The nodes in use, each once; the one that was used last stands first.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        if self.nodes.is_empty() {
            let seeds: Vec<_> = self.seeds.iter().take(SHOWN).map(Endpoint::to_string).collect();
            return write!(f, "the cluster of {}", seeds.join(", "));
        }
        let order = self.last..self.last + self.nodes.len();
        let nodes = order.filter_map(|number| self.nodes.get(number % self.nodes.len()));
        let shown: Vec<_> = nodes.take(SHOWN).map(|node| node.target.to_string()).collect();
        let first = shown.first().map_or("", String::as_str);
        write!(f, "{first} of the cluster {}", shown.join(", "))?;
        match self.nodes.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// [`MAX_NODES`] are fewer than [`NONE`].
fn as_u16(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(NONE)
}
