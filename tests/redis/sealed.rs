//! Entries that somebody else has put into Redis: what passes without `vcache.redis_authenticate_entries`, and that nothing but vcache's own
//! does with it.

use harness::{Database, Session, Source, Stand};
use redis::Commands;
use vcache_core::codec::{Answer, Entry, Header, Row, Seal, encode};
use vcache_core::key::Secret;

use crate::{assert_searches, prepared};

const SETTING: &str = "vcache.redis_authenticate_entries";

/// The database's secret, which nobody is to have.
fn secret(database: &Database) -> Secret {
    let digits = database.session().value("SELECT encode(secret, 'hex') FROM vcache_secret");
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect();
    Secret::new(&bytes).expect("a secret")
}

/// The entry with a row of somebody's own and a right sum, for which one must have the secret of sums, or have computed it.
fn forged(entry: &[u8], secret: &Secret) -> Vec<u8> {
    let entry = Entry::decode(entry, secret, Seal::Sum).expect("an entry");
    let mut answer = Answer::default();
    for row in entry.rows(usize::MAX) {
        let row = row.expect("a row");
        answer.push(Row { payload: Some(r#"{"title": "forged"}"#), ..row });
    }
    encode(&Header { ..entry.header }, &answer, secret, Seal::Sum, usize::MAX).expect("an entry")
}

fn is_forged(session: &mut Session, source: &Source) -> bool {
    let found = session.search("docs", &source.query(1), 10);
    found.iter().any(|row| row.payload.as_deref().is_some_and(|payload| payload.contains("forged")))
}

#[test]
fn a_forged_entry_is_an_answer_without_tags_and_none_with_them() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    let secret = secret(&database);
    assert_searches(&mut session, &source, [1]);
    let key = stand.redis.only_key();
    let plain = stand.redis.get(&key).expect("an entry");
    stand.redis.set(&key, &forged(&plain, &secret));
    // What a sum is worth against who can make it: this is what the setting is for.
    assert!(is_forged(&mut session, &source));

    stand.server.reload_with(SETTING, "on");
    let mut session = database.session();
    let before = database.stats("docs");
    assert_searches(&mut session, &source, [1]);
    let after = database.stats("docs");
    assert_eq!((after.misses, after.redis_errors), (before.misses + 1, before.redis_errors + 1));
    let sealed = stand.redis.get(&key).expect("an entry");
    assert!(sealed.len() > plain.len() && !sealed.starts_with(&plain[..8]), "it was not overwritten");
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").hits, after.hits + 1);

    // Another vector's, another namespace's, and parts of all of them.
    stand.redis.flush();
    assert_searches(&mut session, &source, [2]);
    let foreign = stand.redis.get(&stand.redis.only_key()).expect("an entry");
    source.register(&mut session, "others", "payload_columns => '{title}'");
    stand.redis.flush();
    source.assert_search(&mut session, "others", &source.query(1), 10);
    let other = stand.redis.get(&stand.redis.only_key()).expect("an entry");
    let head = sealed.len() - forged(&sealed, &secret).len();
    let mut impostors = vec![
        ("one without a tag", plain.clone()),
        ("a forged one", forged(&sealed, &secret)),
        ("a forged one under the right one's tag", [&sealed[..head], &forged(&sealed, &secret)].concat()),
        ("a forged one under another's tag", [&foreign[..head], &forged(&sealed, &secret)].concat()),
        ("the right one under another's tag", [&foreign[..head], &plain].concat()),
        ("another vector's", foreign.clone()),
        ("another namespace's", other),
        ("the tag alone", sealed[..head].to_vec()),
        ("nothing behind the first word", b"sealed".to_vec()),
    ];
    for length in (1..sealed.len()).step_by(37) {
        impostors.push(("a beginning", sealed[..length].to_vec()));
        let mut turned = sealed.clone();
        turned[length] ^= 1 << (length % 8);
        impostors.push(("a turned bit", turned));
    }
    for (what, impostor) in impostors {
        stand.redis.set(&key, &impostor);
        let before = database.stats("docs");
        assert_searches(&mut session, &source, [1, 1]);
        let after = database.stats("docs");
        let counted =
            (after.misses - before.misses, after.hits - before.hits, after.redis_errors - before.redis_errors);
        assert_eq!(counted, (1, 1, 1), "{what}");
        assert_ne!(stand.redis.get(&key).expect("an entry"), impostor, "{what} was not overwritten");
        assert!(stand.redis.lifetime(&key) > 0, "{what}");
    }
    assert!(!stand.server.log().contains("panicked"), "{}", stand.server.last_of_log());
}

#[test]
fn the_setting_comes_and_goes_and_entries_with_tags_stay_readable() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    let counted = || {
        let stats = database.stats("docs");
        (stats.hits, stats.misses, stats.redis_errors)
    };
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(counted(), (1, 1, 0));
    stand.server.reload_with(SETTING, "on");
    let mut session = database.session();
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(counted(), (2, 2, 1));
    stand.server.reload_with(SETTING, "off");
    let mut session = database.session();
    assert_searches(&mut session, &source, [1, 1]);
    assert_eq!(counted(), (4, 2, 1));
    // A tag that is there is checked, whatever the setting.
    let key = stand.redis.only_key();
    let mut damaged = stand.redis.get(&key).expect("an entry");
    damaged[10] ^= 1;
    stand.redis.set(&key, &damaged);
    assert_searches(&mut session, &source, [1]);
    assert_eq!(counted(), (4, 3, 2));
    let role = database.role("role", "");
    database.session_as(&role).fails(&format!("SET {SETTING} = off")).assert("55P02", &[SETTING]);
}

/// An entry is authentic for ever; whether it is still the answer, it must say itself.
#[test]
fn an_authentic_entry_that_is_put_back_is_judged_by_what_it_says() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set(SETTING, "on"));
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let key = stand.redis.only_key();
    let old = stand.redis.get(&key).expect("an entry");
    // By its clock: the rows have changed since.
    session.run("UPDATE docs SET title = title, embedding = embedding WHERE id < 50; DELETE FROM docs WHERE id >= 50");
    assert_searches(&mut session, &source, [1]);
    stand.redis.set(&key, &old);
    let before = database.stats("docs");
    assert_searches(&mut session, &source, [1]);
    let after = database.stats("docs");
    assert_eq!((after.misses, after.redis_errors), (before.misses + 1, before.redis_errors));

    // With freshness 'ttl' by what vcache_invalidate has made of it, and by its time.
    source.register(&mut session, "slow", "freshness => 'ttl', ttl => '2 s'");
    stand.redis.flush();
    let search = |session: &mut Session| session.search("slow", &source.query(1), 10);
    let before = search(&mut session);
    let key = stand.redis.only_key();
    let old = stand.redis.get(&key).expect("an entry");
    session.run("SELECT vcache_invalidate('slow'); DELETE FROM docs WHERE id < 40");
    let now = search(&mut session);
    assert_ne!(now, before);
    stand.redis.set(&key, &old);
    assert_eq!(search(&mut session), now);
    let old = stand.redis.get(&key).expect("an entry");
    session.run("INSERT INTO docs SELECT 1000 + id, title, n, embedding FROM docs");
    // Within its time it is the answer that this freshness allows, whoever has put it there.
    assert_eq!(search(&mut session), now);
    session.run("SELECT pg_sleep(2.1)");
    let after = search(&mut session);
    let _: () = stand.redis.connection(0).set(&key, &old).expect("SET");
    assert_eq!(search(&mut session), after);
}
