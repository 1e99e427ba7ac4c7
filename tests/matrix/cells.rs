//! Owns the product: which cells there are, by rules, and what they are called.
//!
//! Every actor meets every state, and every change that names it; where a factor decides what may be read it is crossed in full, and elsewhere its
//! values are taken in turn, so that each of them meets every actor, every state and every change somewhere.

use crate::actors::{Actor, Asks, Enters};
use crate::changes::{About, By, Change};
use crate::scene::{Filter, Namespace};
use crate::states::State;

/// Where entries are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    Shared,
    Redis,
    None,
}

impl Tier {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Redis => "redis",
            Self::None => "none",
        }
    }
}

/// What a session has set when it asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// Of the setting that the state's policies read; `None`: never set.
    pub value: Option<&'static str>,
    /// `row_security`
    pub row_security: bool,
}

impl Situation {
    fn name(self) -> String {
        let Self { value, row_security } = self;
        let value = match value {
            None => "unset".to_owned(),
            Some("") => "set to nothing".to_owned(),
            Some(value) => format!("set to {value}"),
        };
        format!("{value}{}", if row_security { "" } else { ", row_security off" })
    }
}

/// Who asks what, in which situation: before a change, after it, and when it is undone.
#[derive(Clone, Debug)]
pub struct Cell {
    pub actor: usize,
    pub situation: Situation,
    pub namespace: Namespace,
    pub filter: Filter,
}

impl Cell {
    /// What it is called, and called for.
    pub fn name(&self, tier: Tier, state: &State, change: &Change, actors: &[Actor]) -> String {
        let Self { actor, situation, namespace, filter } = self;
        let (actor, namespace) = (actors[*actor].name(), namespace.name());
        [tier.name(), state.name, change.name, &actor, &situation.name(), &namespace, filter.name()].join("/")
    }
}

/// The cells of a state and a change. `turn` is a number of theirs: what is taken in turn begins there.
pub fn of(
    tier: Tier,
    state: &State,
    change: &Change,
    turn: usize,
    actors: &[Actor],
    namespaces: &[Namespace],
) -> Vec<Cell> {
    let mut cells = Vec::new();
    // Where nothing is kept, nothing can be out of date.
    if tier == Tier::None && change.about != About::Nothing {
        return cells;
    }
    for (number, actor) in actors.iter().enumerate().filter(|(number, actor)| takes_part(*number, actor, change, turn))
    {
        let turn = turn + number + tier as usize;
        for (place, situation) in situations(state, change, actor, turn).into_iter().enumerate() {
            let filters = filters(state, change, actor, turn + place);
            for filter in filters.into_iter().filter(|filter| matters(change, actor, *filter)) {
                for namespace in chosen(tier, state, change, namespaces, turn + place + filter as usize) {
                    cells.push(Cell { actor: number, situation, namespace, filter });
                }
            }
        }
    }
    cells
}

fn takes_part(number: usize, actor: &Actor, change: &Change, turn: usize) -> bool {
    let is_its_turn = (number + turn).is_multiple_of(3);
    change.is_for(actor)
        && match change.about {
            About::Nothing | About::Role => true,
            About::Privileges => actor.enters != Enters::Pool || is_its_turn,
            About::Force | About::Rows => matters(change, actor, Filter::None) && (change.names(actor) || is_its_turn),
        }
}

/// Who may not search sees no rows, be they more or less.
fn matters(change: &Change, actor: &Actor, filter: Filter) -> bool {
    !matches!(change.about, About::Force | About::Rows) || actor.may_search(filter)
}

fn situations(state: &State, change: &Change, actor: &Actor, turn: usize) -> Vec<Situation> {
    let with = |value, row_security| Situation { value, row_security };
    // What has been set once is never unset again: it takes a session of its own.
    let may_be_unset = actor.enters == Enters::Login && matches!(actor.asks, Asks::Directly | Asks::Lent(_));
    if change.by == By::Caller {
        return vec![with(Some("a"), true)];
    }
    if change.about != About::Nothing {
        let value = ["a", "b"][turn / 2 % 2];
        return vec![with(Some(value), change.about != About::Force || !state.enabled || !turn.is_multiple_of(7))];
    }
    let mut situations = vec![with(Some("a"), true)];
    if state.setting.is_some() {
        situations.extend([with(Some("b"), true), with(Some(""), true)]);
        situations.extend(may_be_unset.then_some(with(None, true)));
    }
    situations.extend(state.enabled.then_some(with(Some("a"), false)));
    situations
}

fn filters(state: &State, change: &Change, actor: &Actor, turn: usize) -> Vec<Filter> {
    match change.about {
        About::Nothing if ["off", "by user", "by setting"].contains(&state.name) => Filter::ALL.to_vec(),
        // They are about the columns that one filter or another reads.
        About::Privileges if actor.counts().starts_with("no_") || actor.counts() == "columns" => Filter::ALL.to_vec(),
        _ if turn.is_multiple_of(5) => vec![Filter::ALL[turn / 5 % Filter::ALL.len()]],
        _ => vec![Filter::None],
    }
}

fn chosen(tier: Tier, state: &State, change: &Change, namespaces: &[Namespace], turn: usize) -> Vec<Namespace> {
    let all = namespaces.len();
    let most = match change.about {
        _ if tier == Tier::None => 1,
        About::Nothing if state.name == "off" => all,
        // Those that declare what policies read, and those that do not.
        _ => all.div_ceil(4),
    };
    (0..most).map(|n| namespaces[(turn + n * all / most) % all]).collect()
}
