//! A hot standby that lags: its searches answer for its own snapshots, out of the Redis that its primary fills too.

use std::ops::ControlFlow;

use harness::{Stop, until};

use crate::run::{Cast, Length};
use crate::scene::{NAMESPACES, QUERIES};
use crate::script::Role;
use crate::{Counted, Figures, Stage, settle};

#[test]
fn a_search_on_a_standby_answers_as_its_plain_query_does() {
    let mut stage = Stage::new("standby");
    let stand = crate::stand(&[("max_standby_streaming_delay", "300ms"), ("hot_standby_feedback", "off")]);
    let (primary, database) = (&stand.server, stand.database());
    let scene = stage.scene("exact");
    scene.create(&mut database.session(), &mut stage.fork());
    let standby = primary.standby();
    standby.catch_up(primary);

    let mut cast = Cast::new(&scene, database.name(), stage.fork());
    cast.add(primary, Role::Writer, 2);
    cast.add(primary, Role::Reader, 2);
    cast.add(primary, Role::Administrator, 1);
    cast.add(&standby, Role::Onlooker, 4);
    let mut replay = standby.connect("postgres", "postgres");
    let (mut generator, mut paused) = (stage.fork(), false);
    let length = Length { time: stage.time(10), comparisons: 20_000 };
    let result = cast.run(length, || {
        if generator.below(10) == 0 {
            // It may be cancelled for what is replayed.
            let switch = if paused { "SELECT pg_wal_replay_resume()" } else { "SELECT pg_wal_replay_pause()" };
            if replay.try_rows(switch).is_ok() {
                paused = !paused;
            }
        }
        ControlFlow::Continue(())
    });
    until("replay goes on", || replay.try_rows("SELECT pg_wal_replay_resume()").is_ok());
    standby.catch_up(primary);
    let mut reader = standby.connect("postgres", database.name());
    let mut figures = Figures::default();
    figures.take(&cast);
    let there = Counted::of(&mut reader);
    figures.add(there.clone());
    figures.add(Counted::of(&mut database.session()));
    stage.conclude(&figures, result);
    assert!(there.shared_hits > 0 && there.hits > there.shared_hits, "hits from both tiers on the standby: {there:?}");

    // What the primary has stored serves the standby, once it is as far.
    settle(primary, database.name(), &scene);
    standby.catch_up(primary);
    let (before, all) = (Counted::of(&mut reader), (0..QUERIES).collect::<Vec<_>>());
    for namespace in &NAMESPACES {
        let differences = reader.rows(&scene.comparison(namespace, &all, 10, true));
        assert!(differences.is_empty(), "{differences:#?}");
    }
    let after = Counted::of(&mut reader);
    assert_eq!(after.hits - before.hits, after.lookups - before.lookups, "hits on the standby: {before:?} {after:?}");
    standby.stop(Stop::Fast);
}
