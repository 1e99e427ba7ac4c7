//! What vcache puts into Redis, what it leaves alone, and what it makes of values that others put there.

use harness::{Generator, Stand};
use redis::Commands;

use crate::{assert_searches, prepared};

#[test]
fn keys_have_the_prefix_and_expire_and_nothing_else_is_touched() {
    let stand = Stand::with_redis_alone_with(|setup| setup.set("vcache.key_prefix", "app:search"));
    for key in ["app", "app:other", "vcache:00000000000000000000000000000000", "unrelated"] {
        stand.redis.set(key, b"theirs");
    }
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, (0..20).chain(0..20));
    let (own, others): (Vec<_>, Vec<_>) =
        stand.redis.keys().into_iter().partition(|key| key.starts_with("app:search:"));
    assert_eq!((own.len(), others.len()), (20, 4));
    for key in own {
        let digits = &key["app:search:".len()..];
        assert!(digits.len() == 32 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{key}");
        let left = stand.redis.lifetime(&key);
        assert!(left > 0 && left <= 300_000, "{key} lives {left} ms");
    }
    for key in others {
        assert_eq!(stand.redis.get(&key).as_deref(), Some(&b"theirs"[..]), "{key}");
        assert_eq!(stand.redis.lifetime(&key), -1);
    }
    // The test's own look used KEYS, PTTL, INFO and PING; vcache needs two commands.
    let allowed =
        ["get", "set", "keys", "pttl", "info", "ping", "select", "client|setinfo", "client|setname", "auth", "hello"];
    for (command, calls) in stand.redis.commands() {
        assert!(allowed.contains(&command.trim_start_matches("cmdstat_")), "{command}: {calls}");
    }
    assert_eq!((stand.redis.calls("set") - 4, stand.redis.calls("get") - 4), (20, 40));
}

#[test]
fn no_key_or_value_tells_the_secret_of_another_namespace() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    // Keys are drawn with the database's secret: the same definitions and vectors in a second database give other
    // keys.
    assert_searches(&mut session, &source, 0..5);
    let keys = stand.redis.keys();
    let second = stand.database();
    let (mut session, source) = prepared(&second);
    assert_searches(&mut session, &source, 0..5);
    assert_eq!(stand.redis.keys().len(), 10);
    assert!(keys.iter().all(|key| stand.redis.get(key).is_some()));
}

/// What may stand in the place of an entry, made from a real entry and from the real entries of another vector and
/// another namespace.
fn impostors(entry: &[u8], foreign: &[u8], other: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut impostors = vec![
        ("nothing".to_owned(), Vec::new()),
        ("text".to_owned(), b"hello".to_vec()),
        ("the entry of another vector".to_owned(), foreign.to_vec()),
        ("the entry of another namespace".to_owned(), other.to_vec()),
        ("an entry and more".to_owned(), [entry, b"\0"].concat()),
        ("two entries".to_owned(), [entry, entry].concat()),
        ("an empty map".to_owned(), vec![0xa0]),
        ("an empty array".to_owned(), vec![0x80]),
        ("null".to_owned(), vec![0xf6]),
        // CBOR that promises what it does not hold.
        ("an array of 2^63 elements".to_owned(), vec![0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("bytes of 2^63".to_owned(), vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("arrays in arrays".to_owned(), vec![0x81; 200_000]),
        ("endless arrays in arrays".to_owned(), vec![0x9f; 200_000]),
        ("tags on tags".to_owned(), vec![0xc1; 200_000]),
        ("a megabyte".to_owned(), vec![b'x'; 1 << 20]),
    ];
    let mut generator = Generator::new(1);
    for length in [1, 16, 100, entry.len()] {
        let noise = (0..length).map(|_| generator.bits() as u8).collect();
        impostors.push((format!("{length} random bytes"), noise));
    }
    let mut length = 1;
    while length < entry.len() {
        impostors.push((format!("the first {length} bytes"), entry[..length].to_vec()));
        impostors.push((format!("all but the first {length} bytes"), entry[length..].to_vec()));
        length = length * 3 / 2 + 1;
    }
    // Behind the array's head and the magic; the sum is over what follows it.
    let mut of_tomorrow = entry.to_vec();
    assert_eq!(std::mem::replace(&mut of_tomorrow[8], 4), 3, "the format stands elsewhere");
    impostors.push(("an entry of another format".to_owned(), of_tomorrow));
    impostors.push(("all but the last byte".to_owned(), entry[..entry.len() - 1].to_vec()));
    // The head of an entry says what it is an entry of.
    for place in 0..40.min(entry.len()) {
        let mut damaged = entry.to_vec();
        damaged[place] ^= 1 << (place % 8);
        impostors.push((format!("a bit turned in byte {place}"), damaged));
    }
    impostors
}

#[test]
fn what_is_not_the_entry_is_a_miss_and_is_overwritten() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [2]);
    let foreign = stand.redis.get(&stand.redis.only_key()).expect("an entry");
    stand.redis.flush();
    source.register(&mut session, "others", "payload_columns => '{title}'");
    source.assert_search(&mut session, "others", &source.query(1), 10);
    let other = stand.redis.get(&stand.redis.only_key()).expect("an entry");
    stand.redis.flush();
    assert_searches(&mut session, &source, [1]);
    let key = stand.redis.only_key();
    let entry = stand.redis.get(&key).expect("an entry");

    for (what, impostor) in impostors(&entry, &foreign, &other) {
        stand.redis.set(&key, &impostor);
        let before = database.stats("docs");
        assert_searches(&mut session, &source, [1]);
        let after = database.stats("docs");
        // A turned bit may lie in a field that does not matter, such as the second it was computed at: then it may be
        // a hit, with the right rows.
        if !what.starts_with("a bit") || after.hits == before.hits {
            assert_eq!((after.misses, after.hits), (before.misses + 1, before.hits), "{what}");
            assert!(after.redis_errors > before.redis_errors, "{what} is not counted as an error");
            let now = stand.redis.get(&key).expect("an entry");
            assert!(now != impostor, "{what} was not overwritten");
            assert!(stand.redis.lifetime(&key) > 0, "{what}");
            assert_searches(&mut session, &source, [1]);
            assert_eq!(database.stats("docs").hits, before.hits + 1, "{what}");
        }
        assert_eq!(stand.redis.keys().len(), 1);
    }
    assert!(!stand.server.log().contains("panicked"), "{}", stand.server.last_of_log());
}

#[test]
fn a_key_that_holds_another_type_of_redis() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    assert_searches(&mut session, &source, [1]);
    let key = stand.redis.only_key();
    let mut connection = stand.redis.connection(0);
    for kind in ["list", "hash", "stream"] {
        let _: () = connection.del(&key).expect("DEL");
        match kind {
            "list" => connection.rpush::<_, _, ()>(&key, "x").expect("RPUSH"),
            "hash" => connection.hset::<_, _, _, ()>(&key, "f", "x").expect("HSET"),
            _ => redis::cmd("XADD").arg(&key).arg(&["*", "f", "x"]).query::<()>(&mut connection).expect("XADD"),
        }
        let hits = database.stats("docs").hits;
        assert_searches(&mut session, &source, [1, 1]);
        assert_eq!(database.stats("docs").hits, hits + 1, "{kind}");
    }
}

#[test]
fn an_entry_that_outlived_its_own_time_is_a_miss() {
    let stand = Stand::with_redis_alone();
    let database = stand.database();
    let (mut session, source) = prepared(&database);
    session.search_by(&format!("'docs', '{}', 10, ttl => '1 second'", source.query(1)));
    let key = stand.redis.only_key();
    // Somebody made it persistent.
    let _: () = stand.redis.connection(0).persist(&key).expect("PERSIST");
    session.run("SELECT pg_sleep(1.1)");
    assert_searches(&mut session, &source, [1]);
    assert_eq!(database.stats("docs").outcomes(), (0, 2, 0));
}
