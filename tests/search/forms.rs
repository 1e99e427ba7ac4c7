//! The forms of a vector: text, arrays of every number type, the engine's type, from literals, columns and a driver's
//! parameters. The same vector in any form is one entry.

use harness::{Database, Generator, Session, Source, Stand, VECTOR, braces, brackets, digits17};
use postgres::types::{ToSql, Type};

use crate::stand;

/// Searches `docs` by every one of the vectors, given as SQL, and asserts that the first was the only miss and the
/// answers are one.
fn assert_one_entry(database: &Database, session: &mut Session, vectors: &[String]) {
    let before = database.stats("docs");
    let first = session.search_by(&format!("'docs', {}, 5", vectors[0]));
    assert_eq!(database.stats("docs").misses, before.misses + 1, "{} is not the first of its kind", vectors[0]);
    for (count, vector) in vectors.iter().enumerate().skip(1) {
        assert_eq!(session.search_by(&format!("'docs', {vector}, 5")), first, "{vector}");
        let after = database.stats("docs");
        assert_eq!((after.hits, after.misses), (before.hits + count as i64, before.misses + 1), "{vector}");
    }
    assert_eq!(database.stats("docs").bypasses, before.bypasses);
}

#[test]
fn every_form_of_a_whole_numbered_vector_is_one_entry() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    let vector = Generator::new(5).whole_vector(64);
    let (text, array) = (brackets(&vector), braces(&vector));
    let mut forms = vec![
        format!("'{text}'"),
        format!("'{array}'"),
        format!("'{text}'::text"),
        format!("'{array}'::varchar"),
        // As node-postgres sends an array.
        format!("'{}'", array.replace('{', "{\"").replace(',', "\",\"").replace('}', "\"}")),
        format!("' [ {} ] '", text[1..text.len() - 1].replace(',', " , ")),
        format!("'{}'", digits17(&vector)),
        format!("'{}'", text.replace(',', ".0,")),
        format!("'{}'", text.replace(',', "e0,").replace('[', "[+")),
        format!("'{text}'::{VECTOR}"),
    ];
    for element in ["int2", "int4", "int8", "real", "float8", "numeric"] {
        forms.push(format!("'{array}'::{element}[]"));
    }
    // A lower bound is no part of a vector.
    forms.push(format!("('[5:68]={array}')::int[]"));
    assert_one_entry(&database, &mut session, &forms);
    assert_eq!(stand.redis.keys().len(), 1);
    assert_eq!(database.engine_executions("docs"), 1);
}

#[test]
fn every_form_of_a_vector_of_reals_is_one_entry() {
    let stand = Stand::start();
    let database = stand.database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 384);
    source.register(&mut session, "docs", "");
    for seed in 0..5 {
        let vector = Generator::new(seed).vector(384);
        let (text, array, long) = (brackets(&vector), braces(&vector), digits17(&vector));
        let long_array = long.replace('[', "{").replace(']', "}");
        let forms = [
            format!("'{text}'"),
            format!("'{long}'"),
            format!("'{array}'"),
            format!("'{long_array}'"),
            format!("'{text}'::{VECTOR}"),
            format!("'{long}'::{VECTOR}"),
            format!("'{array}'::real[]"),
            format!("'{array}'::real[]::float8[]"),
            format!("'{long_array}'::float8[]"),
            format!("'{array}'::numeric[]"),
            format!("'{long_array}'::numeric[]"),
        ];
        assert_one_entry(&database, &mut session, &forms);
        assert_eq!(stand.redis.keys().len(), seed as usize + 1);
    }
}

#[test]
fn decimals_are_rounded_once() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    // Just below the middle of two neighbouring reals: a double takes it for the middle, from where it would be
    // rounded up.
    let below = "1.00000017881393432617187499";
    assert_eq!(session.value(&format!("SELECT {below}::float8::real <> '{below}'::real")), "t");
    let forms = [
        format!("'[{below},1,1]'"),
        format!("'{{{below},1,1}}'"),
        format!("'[{below},1,1]'::{VECTOR}"),
        format!("'{{{below},1,1}}'::real[]"),
        format!("'{{{below},1,1}}'::numeric[]"),
    ];
    assert_one_entry(&database, &mut session, &forms);
}

#[test]
fn minus_zero_is_zero() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    let forms = [
        "'[0,1,0]'",
        "'[-0,1,-0.0]'",
        "'{-0.0,1,0}'",
        &format!("'[-0.0,1,0]'::{VECTOR}"),
        "'{-0.0,1,-0}'::real[]",
        "'{-0.0,1,-0}'::float8[]",
        "'[-0e5,1,0]'",
    ];
    assert_one_entry(&database, &mut session, &forms.map(str::to_owned));
}

#[test]
fn vectors_from_tables_are_read_however_they_are_stored() {
    let database = stand().database();
    let mut session = database.session();
    // Short ones have a header of one byte and lie at any address; long ones are stored out of line, or compressed.
    for (dimensions, table) in [(5, "short"), (1500, "long")] {
        let source = Source::create(&mut session, table, 20, dimensions);
        source.register(&mut session, table, "");
        let vectors = [Generator::new(1).vector(dimensions), vec![0.25; dimensions]];
        session.run(&format!("DROP TABLE IF EXISTS queries; CREATE TABLE queries (n int, pad text, v {VECTOR}, f real[], d float8[], x numeric[], t text)"));
        for (n, vector) in vectors.iter().enumerate() {
            let (text, array) = (brackets(vector), braces(vector));
            session.run(&format!(
                "INSERT INTO queries VALUES ({n}, 'x', '{text}', '{array}', '{array}'::real[], '{array}', '{text}')"
            ));
            for column in ["v", "f", "d", "x", "t"] {
                let found = session.answer(&format!(
                    "SELECT s.* FROM queries q, LATERAL vcache_search('{table}', q.{column}, 10) s WHERE q.n = {n}"
                ));
                harness::assert_same(&found, &source.plain(&mut session, &text, 10), 10);
            }
        }
        assert_eq!(database.stats(table).outcomes(), (8, 2, 0), "{table}");
    }
}

#[test]
fn a_driver_may_bind_a_vector_as_any_of_these_types() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    let vector = Generator::new(9).whole_vector(64);
    let text = brackets(&vector);
    let expected: Vec<String> = session.search("docs", &text, 5).into_iter().map(|row| row.id).collect();

    let doubles: Vec<f64> = vector.iter().map(|element| f64::from(*element)).collect();
    let integers: Vec<i32> = vector.iter().map(|element| *element as i32).collect();
    let small: Vec<i16> = vector.iter().map(|element| *element as i16).collect();
    let large: Vec<i64> = vector.iter().map(|element| *element as i64).collect();
    let array = braces(&vector);
    let bound: [(Option<Type>, &(dyn ToSql + Sync)); 9] = [
        // None: the driver leaves the type to the server, which takes text.
        (None, &text),
        (None, &array),
        (Some(Type::TEXT), &text),
        (Some(Type::VARCHAR), &array),
        (Some(Type::FLOAT4_ARRAY), &vector),
        (Some(Type::FLOAT8_ARRAY), &doubles),
        (Some(Type::INT4_ARRAY), &integers),
        (Some(Type::INT2_ARRAY), &small),
        (Some(Type::INT8_ARRAY), &large),
    ];
    for (kind, value) in bound {
        let sql = "SELECT id FROM vcache_search('docs', $1, 5)";
        let client = session.client();
        let statement = match &kind {
            Some(kind) => client.prepare_typed(sql, std::slice::from_ref(kind)),
            None => client.prepare(sql),
        };
        let statement = statement.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let rows = client.query(&statement, &[value]).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), expected, "{kind:?}");
    }

    // All arguments bound, by name.
    let sql =
        "SELECT id FROM vcache_search(namespace => $1, vector => $2::real[], top_k => $3, ttl => $4::text::interval)";
    let rows = session.client().query(sql, &[&"docs", &vector, &5i32, &"1 hour"]).expect("bound arguments");
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), expected);
    assert_eq!(database.stats("docs").outcomes(), (10, 1, 0));
}

#[test]
fn vectors_that_differ_in_one_bit_are_two_entries() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 64);
    source.register(&mut session, "docs", "");
    let mut vector = Generator::new(3).vector(64);
    session.search("docs", &brackets(&vector), 5);
    for place in [0, 31, 63] {
        vector[place] = f32::from_bits(vector[place].to_bits() ^ 1);
        session.search("docs", &brackets(&vector), 5);
    }
    // Elements change places.
    vector.swap(1, 2);
    session.search("docs", &brackets(&vector), 5);
    assert_eq!(database.stats("docs").outcomes(), (0, 5, 0));
}

#[test]
fn a_domain_over_a_vector_type_is_that_type() {
    let database = stand().database();
    let mut session = database.session();
    let source = Source::docs(&mut session, 50, 3);
    source.register(&mut session, "docs", "");
    session.run("CREATE DOMAIN embedding AS real[]; CREATE DOMAIN question AS text");
    let forms = ["'[1,2,3]'", "'{1,2,3}'::embedding", "'[1,2,3]'::question", "ARRAY[1,2,3]", "ARRAY[1,2,3.0]"];
    assert_one_entry(&database, &mut session, &forms.map(str::to_owned));
}
