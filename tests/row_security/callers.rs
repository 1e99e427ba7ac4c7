//! From where a search is called: it is always the current role that counts, as for a plain query in a function of the same kind.

use crate::{Outcome, Scene, stand, turn};
use Outcome::{Hit, Miss};
use harness::Session;

/// `search_*` and `plain_*`, which give ids in order: as functions of their callers, as such of their owner's, and views over the former, with and without
/// security_invoker.
fn callers(owner: &mut Session, keeper: &str) {
    let bodies = [
        ("search", "SELECT id::int FROM public.vcache_search('docs', '[1,2,3]', 30) ORDER BY 1"),
        ("plain", "SELECT id FROM public.docs ORDER BY 1"),
    ];
    for (name, body) in bodies {
        owner.run(&format!(
            "CREATE FUNCTION {name}() RETURNS SETOF int LANGUAGE sql AS $$ {body} $$;
             CREATE FUNCTION {name}_lent() RETURNS SETOF int LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp AS $$ {body} $$;
             CREATE FUNCTION {name}_written() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY {body}; END $$;
             CREATE FUNCTION {name}_lent_within() RETURNS SETOF int LANGUAGE sql SECURITY DEFINER AS $$ SELECT * FROM public.{name}_written() $$;
             CREATE VIEW {name}_view AS SELECT * FROM {name}() i; CREATE VIEW {name}_invoked WITH (security_invoker) AS SELECT * FROM {name}() i;
             CREATE FUNCTION {name}_of_view() RETURNS SETOF int LANGUAGE sql AS $$ SELECT * FROM public.{name}_view $$;
             CREATE FUNCTION {name}_of_invoked() RETURNS SETOF int LANGUAGE sql AS $$ SELECT * FROM public.{name}_invoked $$;
             ALTER FUNCTION {name}_lent OWNER TO {keeper}; ALTER FUNCTION {name}_lent_within OWNER TO {keeper};
             ALTER VIEW {name}_view OWNER TO {keeper}; GRANT SELECT ON {name}_view, {name}_invoked TO PUBLIC"
        ));
    }
}

const CALLS: [&str; 6] = ["", "_lent", "_written", "_lent_within", "_of_view", "_of_invoked"];

/// What all of the calls give, or with which SQLSTATE they fail, of searches and of plain queries; for the first time, and again.
#[track_caller]
fn assert_same(session: &mut Session) -> Vec<usize> {
    let mut counts = Vec::new();
    for call in CALLS.into_iter().chain(CALLS) {
        let mut rows = |name: &str| {
            session
                .try_rows(&format!("SELECT i FROM {name}{call}() i"))
                .map_err(|failure| (failure.sqlstate, failure.message))
        };
        let (found, plain) = (rows("search"), rows("plain"));
        assert_eq!(found, plain, "{call}");
        counts.push(found.map_or(0, |rows| rows.len()));
    }
    counts.split_off(CALLS.len())
}

#[test]
fn the_current_role_counts_wherever_it_is_called_from() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) =
        Scene::with_policy(&database, "{}", "reader = current_user OR reader = 'nobody' AND tenant = 1");
    let keeper = database.role("keeper", "");
    callers(&mut owner, &keeper);
    owner.run(&format!("UPDATE docs SET reader = '{keeper}' WHERE id > 25"));
    let (mut alice, mut bob) = (database.session_as(&scene.alice), database.session_as(&scene.bob));
    for session in [&mut alice, &mut bob, &mut owner] {
        assert_same(session);
    }
    // Who may not read the table may have it lent.
    owner.run(&format!("REVOKE SELECT ON docs FROM PUBLIC; GRANT SELECT ON docs TO {keeper}"));
    let counts = assert_same(&mut alice);
    assert!(
        counts[1] > 0 && counts[1] == counts[3] && [0, 2, 4, 5].iter().all(|call| counts[*call] == 0),
        "{counts:?}"
    );
    owner.run(&format!("GRANT {keeper} TO {}", scene.alice));
    assert_same(&mut alice);
    alice.run(&format!("SET ROLE {keeper}"));
    let counts = assert_same(&mut alice);
    assert!(counts.iter().all(|count| *count == counts[1]), "{counts:?}");
    alice.run("RESET ROLE");
    owner.run(&format!("REVOKE {keeper} FROM {}", scene.alice));
    assert_same(&mut alice);
    owner.run(&format!("ALTER ROLE {keeper} BYPASSRLS"));
    assert_eq!(assert_same(&mut alice)[1], 30);
    // In one statement, as two roles.
    owner.run("GRANT SELECT ON docs TO PUBLIC");
    let both = |name: &str| format!("SELECT count(*) || ' ' || (SELECT count(*) FROM {name}_lent()) FROM {name}()");
    assert_eq!(alice.value(&both("search")), alice.value(&both("plain")));
}

#[test]
fn set_role_and_back() {
    let _turn = turn();
    let database = stand().database();
    let (scene, mut owner) = Scene::with_policy(&database, "{}", "reader = current_user");
    for end in [Miss, Hit] {
        for (role, rows) in [(&scene.alice, 10), (&scene.bob, 10)] {
            owner.run(&format!("SET ROLE {role}"));
            assert_eq!(scene.compared(&mut owner), (end, rows));
            owner.run("RESET ROLE");
        }
        assert_eq!(scene.compared(&mut owner), (end, 30));
    }
    owner.run(&format!("BEGIN; SET LOCAL ROLE {}", scene.alice));
    assert_eq!(scene.compared(&mut owner), (Hit, 10));
    owner.run("ROLLBACK");
    assert_eq!(scene.compared(&mut owner), (Hit, 30));
    // A prepared search.
    owner.run("PREPARE search AS SELECT id FROM vcache_search('docs', '[1,2,3]', 30)");
    for _ in 0..7 {
        assert_eq!(owner.rows("EXECUTE search").len(), 30);
        owner.run(&format!("SET ROLE {}", scene.bob));
        assert_eq!(owner.rows("EXECUTE search").len(), 10);
        owner.run("RESET ROLE");
    }
}
