//! Plans are kept by the shape of a filter, and not without end.

use crate::{goods, left, register, stand};

#[test]
fn plans_are_kept_by_shape_and_bounded() {
    let database = stand().database();
    let mut session = database.session();
    let columns: Vec<String> = (0..9).map(|n| format!("c{n} int")).collect();
    let row = ["1"; 9].join(", ");
    goods(&mut session, &columns.join(", "), &[&row]);
    let names: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
    register(&mut session, &format!("filter_columns => '{{{}}}'", names.join(",")));
    let kept = "SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource'";
    // One shape, many values.
    left(&mut session, "{\"c0\": 0}");
    let before = session.number(kept);
    for value in 1..50 {
        left(&mut session, &format!("{{\"c0\": {value}}}"));
    }
    assert_eq!(session.number(kept), before);
    // Many shapes: every subset of the columns.
    for subset in 1..512_u32 {
        let parts: Vec<String> = (0..9).filter(|n| subset >> n & 1 == 1).map(|n| format!("\"c{n}\": 1")).collect();
        assert_eq!(left(&mut session, &format!("{{{}}}", parts.join(", "))).len(), 1, "{parts:?}");
    }
    let after = session.number(kept);
    assert!((before + 90..before + 105).contains(&after), "{before} before, {after} after");
    // Those of what a namespace was go, once its name is known by what it is.
    session.run("SELECT vcache_alter_namespace('goods', '{\"ttl\": \"1 hour\"}')");
    for value in 70..73 {
        left(&mut session, &format!("{{\"c0\": {value}}}"));
    }
    assert!(session.number(kept) <= before + 5, "{}", session.number(kept));
}
