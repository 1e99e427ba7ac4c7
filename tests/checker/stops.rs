//! Servers that stop: crashes that lose commits, and the promotion of a standby that has not received all. Redis stays, with what was
//! cached under commits that nobody has seen since.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use harness::{Postgres, Redis, Stand, Stop, until};

use crate::actor::{Actor, Trouble};
use crate::run::{Cast, Length};
use crate::scene::{NAMESPACES, QUERIES, Scene, TARGETS};
use crate::script::{Comparison, Role, Script, Step, Way, Work};
use crate::{Counted, Figures, Stage, settle, writes};

/// How long many connections work before each stop.
const ROUND: Length = Length { time: Duration::from_millis(1500), comparisons: 0 };

/// Commits are lost: they reach the disk when something else asks for it, or after ten seconds.
const FORGETFUL: [(&str, &str); 2] = [("synchronous_commit", "off"), ("wal_writer_delay", "10s")];

#[test]
fn after_crashes_nothing_cached_under_a_lost_commit_is_served() {
    let mut stage = Stage::new("crashes");
    let time = stage.time(10);
    let (figures, result) = crashes(&mut stage, time);
    stage.conclude(&figures, result);
    assert!(figures.lost > 0, "no crash has lost a commit");
}

#[test]
fn after_a_promotion_nothing_cached_under_a_lost_commit_is_served() {
    let mut stage = Stage::new("promotions");
    let time = stage.time(8);
    let (figures, result) = promotions(&mut stage, time);
    stage.conclude(&figures, result);
    assert!(figures.lost > 0, "no promotion has lost a commit");
}

/// Lets a server crash again and again, in the midst of a run or after a few commits that nobody else's follow.
pub fn crashes(stage: &mut Stage, time: Duration) -> (Figures, Result<(), String>) {
    let stand = crate::stand(&FORGETFUL);
    let (server, database) = (&stand.server, stand.database());
    let scene = stage.scene("exact");
    let mut cast = crate::cast(stage, &scene, server, &database);
    database.session().run(PROGRESS);
    let mut figures = Figures::default();
    let (start, mut round) = (Instant::now(), 0);
    // Now and then PostgreSQL writes all to the disk before the server stops.
    while start.elapsed() < time || round < 4 || (figures.lost == 0 && round < 30) {
        round += 1;
        let times = 1 + stage.generator.below(3);
        let mut went = || {
            let started = Instant::now();
            let mut counted = Counted::default();
            cast.run(ROUND, || {
                if round % 2 == 1 || started.elapsed() < ROUND.time / 2 {
                    return ControlFlow::Continue(());
                }
                counted = Counted::of(&mut database.session());
                server.stop(Stop::Immediate);
                ControlFlow::Break(())
            })?;
            figures.add(counted);
            if server.is_running() {
                let kept = progress(server, database.name());
                let mut made = 0;
                cast.alone(server, |actor, script| last_commits(actor, script, times, &mut made))?;
                figures.add(Counted::of(&mut database.session()));
                server.stop(Stop::Immediate);
                server.start();
                figures.lost += kept + made - progress(server, database.name());
            } else {
                server.start();
            }
            cast.alone(server, |actor, script| first_commits(actor, script, times))?;
            settle(server, database.name(), &scene);
            Ok(())
        };
        let result = went();
        if result.is_err() {
            figures.take(&cast);
            return (figures, result);
        }
    }
    figures.take(&cast);
    figures.add(Counted::of(&mut database.session()));
    (figures, Ok(()))
}

/// Promotes standby after standby, each cut off from its primary before the primary's last commits.
fn promotions(stage: &mut Stage, time: Duration) -> (Figures, Result<(), String>) {
    let redis = Redis::start();
    let setup = Stand::setup(&redis.url()).set("vcache.shared_memory_size", crate::SHARED_MEMORY);
    let setup = setup.set("max_prepared_transactions", "20").set("deadlock_timeout", "50ms");
    let mut primary = setup.set("max_standby_streaming_delay", "300ms").start();
    let name = {
        let database = primary.database();
        database.session().run(PROGRESS);
        database.name().to_owned()
    };
    let scene = stage.scene("exact");
    scene.create(&mut primary.connect("postgres", &name), &mut stage.fork());
    let mut figures = Figures::default();
    let start = Instant::now();
    while start.elapsed() < time || figures.lost == 0 {
        let standby = primary.standby();
        let result = promotion(stage, &scene, &name, &primary, &standby, &mut figures);
        if result.is_err() {
            return (figures, result);
        }
        primary = standby;
    }
    (figures, Ok(()))
}

fn promotion(
    stage: &mut Stage,
    scene: &Scene,
    database: &str,
    primary: &Postgres,
    standby: &Postgres,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut cast = Cast::new(scene, database, stage.fork());
    cast.add(primary, Role::Writer, 3);
    cast.add(primary, Role::Reader, 2);
    cast.add(standby, Role::Onlooker, 2);
    let done = cast.run(ROUND, || ControlFlow::Continue(())).and_then(|()| {
        let mut session = standby.connect("postgres", database);
        session.run("ALTER SYSTEM SET primary_conninfo = ''");
        session.run("SELECT pg_reload_conf()");
        until("the standby receives nothing more", || session.number("SELECT count(*) FROM pg_stat_wal_receiver") == 0);
        let (kept, mut made) = (progress(primary, database), 0);
        let times = 1 + stage.generator.below(3);
        cast.alone(primary, |actor, script| last_commits(actor, script, times, &mut made))?;
        figures.add(Counted::of(&mut primary.connect("postgres", database)));
        primary.stop(Stop::Immediate);
        session.run("SELECT pg_promote()");
        figures.lost += kept + made - progress(standby, database);
        cast.alone(standby, |actor, script| first_commits(actor, script, times))?;
        settle(standby, database, scene);
        Ok(())
    });
    figures.take(&cast);
    done?;
    let mut cast = Cast::new(scene, database, stage.fork());
    cast.add(standby, Role::Writer, 3);
    cast.add(standby, Role::Reader, 3);
    let done = cast.run(ROUND, || ControlFlow::Continue(()));
    figures.take(&cast);
    done
}

const PROGRESS: &str = "CREATE TABLE progress (n int)";

fn progress(server: &Postgres, database: &str) -> i64 {
    server.connect("postgres", database).number("SELECT count(*) FROM progress")
}

/// A few commits that will be lost, and all searches stored under the last of them.
fn last_commits(actor: &mut Actor, script: &mut Script, times: u64, made: &mut i64) -> Result<(), Trouble> {
    // What went before is on the disk.
    actor.run("BEGIN; SET LOCAL synchronous_commit = on; INSERT INTO progress VALUES (0); COMMIT")?;
    actor.run("INSERT INTO progress VALUES (1)")?;
    *made += 2;
    commit_and_compare(actor, script, times)
}

/// Others in their place. As many: what counts commits would be where it was. Nothing is searched before, for that would take the
/// place of what was stored.
fn first_commits(actor: &mut Actor, script: &mut Script, times: u64) -> Result<(), Trouble> {
    commit_and_compare(actor, script, times)?;
    commit_and_compare(actor, script, 1)
}

/// So many commits in each source, then every search.
fn commit_and_compare(actor: &mut Actor, script: &mut Script, times: u64) -> Result<(), Trouble> {
    for _ in 0..times {
        for name in ["flat", "shop", "rooms", "parts", "tree", "other", "owned"] {
            let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
            actor.work(&Work::Alone(vec![writes::new_row(script, target)]))?;
        }
    }
    compare_all(actor)
}

fn compare_all(actor: &mut Actor) -> Result<(), Trouble> {
    NAMESPACES.iter().try_for_each(|namespace| {
        let comparison = Comparison { namespace, queries: (0..QUERIES).collect(), top_k: 10, way: Way::Together };
        actor.work(&Work::Alone(vec![Step::Compare(comparison)]))
    })
}
