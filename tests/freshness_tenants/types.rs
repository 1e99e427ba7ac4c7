//! What a tenant's value may be: values that are equal are one tenant, however they are written.

use harness::literal;

use crate::scene::{TENANTS, near, register};
use crate::{Scene, stand};

/// Tenants `one` and `other` of a type; what is written as any of `same` is `one`'s.
struct Case {
    kind: &'static str,
    one: &'static str,
    other: &'static str,
    same: &'static [&'static str],
}

/// Types whose values tell tenants apart.
const TOLD_APART: [Case; 11] = [
    Case { kind: "text", one: "ann", other: "Ann", same: &["ann"] },
    Case { kind: "varchar(5)", one: "ann", other: "bob", same: &["ann"] },
    Case { kind: "bpchar", one: "ann", other: "bob", same: &["ann", "ann  "] },
    Case { kind: "char(5)", one: "ann", other: "bob", same: &["ann", "ann "] },
    Case { kind: "name", one: "ann", other: "bob", same: &["ann"] },
    Case { kind: "int", one: "7", other: "8", same: &["7", "07"] },
    Case { kind: "numeric", one: "1.0", other: "2", same: &["1", "1.0", "1.00", "1e0"] },
    Case { kind: "float8", one: "0", other: "1", same: &["0", "-0"] },
    Case {
        kind: "uuid",
        one: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        other: "00000000-0000-0000-0000-000000000000",
        same: &["{A0EEBC999C0B4EF8BB6D6BB9BD380A11}"],
    },
    Case { kind: "text[]", one: "{a,b}", other: "{b,a}", same: &["{a, b}"] },
    Case { kind: "jsonb", one: "{\"a\": 1, \"b\": 2}", other: "{}", same: &["{\"b\": 2, \"a\": 1.0}"] },
];

/// Types that users make, and a collation.
const MADE: &str = "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
                    CREATE DOMAIN short AS text COLLATE anycase CHECK (length(VALUE) < 10)";
const TIER: &str = "CREATE TYPE tier AS ENUM ('gold', 'silver')";
const SHARE_A_CLOCK: &str = "SELECT (hashenum('gold'::tier)::bigint - hashenum('silver'::tier)) % 4096 = 0";
const OF_USERS: [Case; 3] = [
    Case { kind: "text COLLATE anycase", one: "ann", other: "bob", same: &["Ann", "ANN"] },
    Case { kind: "short", one: "ann", other: "bob", same: &["Ann", "ANN"] },
    Case { kind: "tier", one: "gold", other: "silver", same: &["gold"] },
];

#[test]
fn what_is_equal_is_one_tenant() {
    for Case { kind, one, other, same } in TOLD_APART.iter().chain(&OF_USERS) {
        println!("{kind}");
        let database = stand().database();
        let mut maker = database.session();
        maker.run(&format!("{MADE}; {TIER}"));
        // An enum's values hash by their OIDs, which are others in every run: they may share one of the 4,096 clocks.
        while maker.value(SHARE_A_CLOCK) == "t" {
            maker.run(&format!("DROP TYPE tier; {TIER}"));
        }
        let (mut scene, mut session) = Scene::of_kind(&database, kind, &[one, other]);
        register(&mut session, "docs/*", "namespace_column => 'tenant'");
        let names = [format!("docs/{one}"), format!("docs/{other}")];
        scene.view(&names[0], &format!("tenant = {}::{kind}", literal(one)));
        scene.view(&names[1], &format!("tenant = {}::{kind}", literal(other)));
        for (number, value) in same.iter().enumerate() {
            let id = 100 + number as u32;
            scene.changes(&mut session, &near(id, &literal(value)), &[&names[0]]);
            let to_other = format!("UPDATE notes SET tenant = {} WHERE id = {id}", literal(other));
            scene.changes(&mut session, &to_other, &[&names[0], &names[1]]);
            scene.changes(&mut session, &format!("DELETE FROM notes WHERE id = {id}"), &[&names[1]]);
        }
    }
}

#[test]
fn what_has_no_hash_is_changed_with_the_others() {
    let of_users = "CREATE TYPE pair AS (a int, b int); CREATE TYPE span AS RANGE (subtype = int)";
    for (kind, one, other) in
        [("money", "1", "2"), ("bit(3)", "101", "111"), ("pair", "(1,2)", "(2,1)"), ("span", "[1,5)", "[2,5)")]
    {
        println!("{kind}");
        let database = stand().database();
        database.session().run(of_users);
        let (mut scene, mut session) = Scene::of_kind(&database, kind, &[one, other]);
        register(&mut session, "docs/*", "namespace_column => 'tenant'");
        let names = [format!("docs/{one}"), format!("docs/{other}")];
        for (name, value) in names.iter().zip([one, other]) {
            scene.view(name, &format!("tenant = {}::{kind}", literal(value)));
        }
        scene.changes(&mut session, &near(100, &literal(one)), &[&names[0], &names[1]]);
        scene.changes(&mut session, "DELETE FROM notes WHERE id = 100", &[&names[0], &names[1]]);
        assert_eq!(session.number("SELECT count(*) FROM pg_trigger WHERE tgname IN ('vcache_new', 'vcache_old')"), 0);
    }
}

#[test]
fn long_values_and_columns_that_rows_do_not_have_yet() {
    let database = stand().database();
    let long = "long".repeat(50);
    let longest = format!("(SELECT string_agg(md5(i::text), '') FROM generate_series(1, {}) i)", 400);
    let (mut scene, mut session) = Scene::of_kind(&database, "text", &TENANTS);
    register(&mut session, "docs/*", "namespace_column => 'tenant'");
    scene.view(&format!("docs/{}", &long[..190]), &format!("tenant = '{}'", &long[..190]));
    scene.view("docs/ann", "tenant = 'ann'");
    scene.changes(&mut session, &near(100, &format!("'{}'", &long[..190])), &[&format!("docs/{}", &long[..190])]);
    // Stored out of line.
    scene.changes(&mut session, &near(101, &longest), &[]);
    scene.changes(&mut session, "UPDATE notes SET tenant = 'ann' WHERE id = 101", &["docs/ann"]);
    // Rows from before the column have its default, which is nowhere in them.
    session.run("ALTER TABLE notes ADD second text DEFAULT 'ann'");
    register(&mut session, "second/*", "namespace_column => 'second'");
    scene.view("second/ann", "second = 'ann'");
    scene.view("second/bob", "second = 'bob'");
    scene.changes(
        &mut session,
        "UPDATE notes SET second = 'bob' WHERE id = 1",
        &["docs/ann", "second/ann", "second/bob"],
    );
    scene.changes(&mut session, "DELETE FROM notes WHERE id = 11", &["second/ann"]);
}
