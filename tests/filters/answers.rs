//! Random filters over random rows: a miss and a hit give what the filter says, by an evaluator that knows nothing of SQL; whoever shares an entry has the same
//! answer, and another spelling shares it.

use std::collections::HashMap;

use harness::{Generator, literal};
use serde_json::{Map, Value as Json, json};

use crate::meaning::{is_true, respelled};
use crate::{explained, goods, left, register, stand};

/// What the fields of goods may hold, and what is asked of them. Not all that is asked for is held, and the other way round.
fn held(field: &str) -> Vec<Json> {
    match field {
        "n" => vec![json!(1), json!(2), json!(3), json!(-2_147_483_648_i64), json!(2_147_483_647)],
        "price" => vec![json!(1), json!(1.5), json!(2.25)],
        "score" => vec![json!(0), json!(0.5), json!(-1)],
        "lang" => ["", "de", "en", "it's", "ü\"\\"].map(Json::from).to_vec(),
        "ok" => vec![json!(true), json!(false)],
        "made" => ["2024-01-01", "2024-06-30", "2025-02-01"].map(Json::from).to_vec(),
        // Of every kind that JSON has.
        "mixed" | "deep.er" | "a b.c" => {
            vec![json!(1), json!(2), json!(1.5), json!("1"), json!("b"), json!(true), json!(false)]
        }
        other => panic!("{other}"),
    }
}

const COLUMNS: [&str; 6] = ["n", "price", "score", "lang", "ok", "made"];
const PATHS: [&str; 3] = ["mixed", "deep.er", "a b.c"];

struct Row {
    values: HashMap<&'static str, Json>,
    sql: String,
}

fn row(generator: &mut Generator) -> Row {
    let mut values = HashMap::new();
    let mut sql = Vec::new();
    for column in COLUMNS {
        match pick(generator, &held(column)).filter(|_| generator.below(5) > 0) {
            None => sql.push("NULL".to_owned()),
            Some(value) => {
                sql.push(literal(value.as_str().unwrap_or(&value.to_string())));
                values.insert(column, value);
            }
        }
    }
    let mut metadata = Map::new();
    for path in PATHS {
        let value = match generator.below(12) {
            0 => continue,
            1 => Json::Null,
            2 => json!([1, "b"]),
            3 => json!({ "b": 1 }),
            _ => pick(generator, &held(path)).expect("a value"),
        };
        if !value.is_null() {
            values.insert(path, value.clone());
        }
        match path.split_once('.') {
            None => drop(metadata.insert(path.to_owned(), value)),
            Some((outer, inner)) => drop(metadata.insert(outer.to_owned(), json!({ inner: value }))),
        }
    }
    let metadata = match generator.below(12) {
        // Where there is no object, there are no keys.
        0 => Json::Null,
        1 => json!([{ "mixed": 1 }]),
        2 => json!("mixed"),
        _ => Json::Object(metadata),
    };
    if !metadata.is_object() {
        PATHS.iter().for_each(|path| drop(values.remove(path)));
    }
    sql.push(if metadata.is_null() && generator.below(2) == 0 {
        "NULL".into()
    } else {
        literal(&metadata.to_string())
    });
    Row { values, sql: sql.join(", ") }
}

fn pick(generator: &mut Generator, among: &[Json]) -> Option<Json> {
    among.get(generator.below(among.len() as u64) as usize).cloned()
}

fn condition(generator: &mut Generator, field: &str) -> Json {
    let value = |generator: &mut Generator| pick(generator, &held(field)).expect("a value");
    let or_null = |generator: &mut Generator| if generator.below(8) == 0 { Json::Null } else { value(generator) };
    match generator.below(12) {
        0 => or_null(generator),
        1 => json!({ "$eq": or_null(generator) }),
        2 => json!({ "$ne": or_null(generator) }),
        3 => json!({ "$in": (0..generator.below(4)).map(|_| or_null(generator)).collect::<Vec<_>>() }),
        4 => json!({ "$nin": (0..generator.below(4)).map(|_| or_null(generator)).collect::<Vec<_>>() }),
        5 => json!({ "$exists": generator.below(2) == 0 }),
        6 => match condition(generator, field) {
            Json::Object(operators) => json!({ "$not": operators }),
            value => json!({ "$ne": value }),
        },
        7 => json!({ "$gt": value(generator), "$lte": value(generator) }),
        8 => json!({ "$gte": value(generator), "$ne": value(generator) }),
        n => {
            let operator = ["$gt", "$gte", "$lt", "$lte"][(n as usize + generator.below(4) as usize) % 4];
            json!({ operator: value(generator) })
        }
    }
}

fn filter(generator: &mut Generator, depth: usize) -> Json {
    let parts = |generator: &mut Generator| {
        (0..1 + generator.below(3)).map(|_| filter(generator, depth - 1)).collect::<Vec<_>>()
    };
    match generator.below(if depth == 0 { 4 } else { 7 }) {
        4 => json!({ "$and": parts(generator) }),
        5 => json!({ "$or": parts(generator) }),
        6 => json!({ "$not": filter(generator, depth - 1) }),
        n => {
            let mut fields = Map::new();
            for _ in 0..1 + n % 2 {
                let all = [&COLUMNS[..], &PATHS].concat();
                let field = all[generator.below(all.len() as u64) as usize];
                fields.insert(field.to_owned(), condition(generator, field));
            }
            Json::Object(fields)
        }
    }
}

#[test]
fn random_filters_leave_the_rows_that_they_are_true_of() {
    let database = stand().database();
    let mut session = database.session();
    let seed = std::env::var("VCACHE_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let mut generator = Generator::new(seed);
    let rows: Vec<Row> = (0..150).map(|_| row(&mut generator)).collect();
    let sql: Vec<&str> = rows.iter().map(|row| row.sql.as_str()).collect();
    let columns = "n int, price numeric, score float8, lang text COLLATE \"C\", ok boolean, made date, meta jsonb";
    goods(&mut session, columns, &sql);
    register(&mut session, "filter_columns => '{n,price,score,lang,ok,made}', metadata_column => 'meta'");

    let mut answers: HashMap<String, Vec<String>> = HashMap::new();
    let mut sizes = [0; 3];
    for _ in 0..400 {
        let filter = filter(&mut generator, 2);
        let wanted: Vec<String> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| is_true(&filter, &|field| row.values.get(field).cloned()))
            .map(|(id, _)| id.to_string())
            .collect();
        let text = filter.to_string();
        let (before, key) = explained(&mut session, &text);
        assert_eq!(before == "hit", answers.contains_key(&key), "{text}");
        assert_eq!(left(&mut session, &text), wanted, "{text}");
        assert_eq!(left(&mut session, &text), wanted, "the second time: {text}");
        assert_eq!(answers.entry(key.clone()).or_insert_with(|| wanted.clone()), &wanted, "{text}");
        assert_eq!(explained(&mut session, &respelled(&filter).to_string()), ("hit".to_owned(), key), "{text}");
        sizes[if wanted.is_empty() {
            0
        } else if wanted.len() == rows.len() {
            1
        } else {
            2
        }] += 1;
    }
    assert!(sizes[2] > 200, "too few that leave some rows: {sizes:?}");
}
