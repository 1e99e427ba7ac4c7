//! `vcache.redis_password_file`: the password outside of every setting.

use harness::{Directory, Redis, Stand, Stop};

use crate::{assert_down, assert_up, health, prepared};

const PASSWORD: &str = "Tr0ub4dor & 3 §$%'\"\\";

fn guarded(password: &str) -> Redis {
    let password = format!(">{password}");
    Redis::start_with(&["--user", "reader", "on", &password, "~vcache:*", "+get", "+set"], None)
}

#[test]
fn right_wrong_missing_and_rotated() {
    let redis = guarded(PASSWORD);
    let directory = Directory::new("password");
    let put = |text: &str, mode| directory.put("password", text.as_bytes(), mode);
    let file = put(&format!("{PASSWORD}\n"), 0o600);
    // It goes before the URL's, and is that of the URL's user.
    let server = Stand::setup(&format!("redis://reader:another@127.0.0.1:{}/0", redis.port()))
        .set("vcache.redis_password_file", file.to_str().expect("UTF-8"))
        .set("log_min_messages", "debug5")
        .set("log_statement", "all")
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);

    // Sessions that are connected stay so; new connections read the file.
    for (text, mode, why) in [
        ("wrong-secret\n", 0o600, "refused with WRONGPASS"),
        ("", 0o600, "redis_password_file is empty"),
        ("\n", 0o600, "redis_password_file is empty"),
        ("wrong-secret\nwrong-secret\n", 0o600, "redis_password_file has more than one line"),
        (
            PASSWORD,
            0o644,
            "redis_password_file has group or world access: it must be 0600 or less if the server's account owns it, 0640 or less if root does; breaker open",
        ),
        (PASSWORD, 0o620, "redis_password_file has group or world access"),
    ] {
        put(text, mode);
        assert_down(&database, &mut database.session(), &source, why);
        assert_up(&database, &mut session, &source);
    }
    std::fs::remove_file(&file).expect("remove");
    let mut waiting = database.session();
    assert_down(&database, &mut waiting, &source, "redis_password_file does not exist");
    for text in [PASSWORD.to_owned(), format!("{PASSWORD}\r\n")] {
        put(&text, 0o400);
        assert_up(&database, &mut waiting, &source);
        assert_up(&database, &mut database.session(), &source);
    }

    // The password is changed in Redis, then in the file.
    let _: () = redis::cmd("ACL")
        .arg(&["SETUSER", "reader", "resetpass", ">rotated-secret"])
        .query(&mut redis.connection(0))
        .expect("ACL SETUSER");
    assert_down(&database, &mut database.session(), &source, "refused with WRONGPASS");
    put("rotated-secret\n", 0o600);
    assert_up(&database, &mut database.session(), &source);

    let said = health(&mut database.session());
    drop((session, waiting));
    server.stop(Stop::Fast);
    for secret in [PASSWORD, "wrong-secret", "rotated-secret"] {
        assert!(!said.contains(secret) && !server.log().contains(secret), "{secret} was shown");
    }
}

#[test]
fn for_the_default_user_and_over_a_unix_socket() {
    let redis = Redis::start_with(&["--requirepass", "plain-secret"], Some("plain-secret"));
    let directory = Directory::new("password");
    let file = directory.put("password", b"plain-secret", 0o600);
    for url in [redis.url(), format!("redis+unix://{}", redis.socket().display())] {
        let server = Stand::setup(&url).set("vcache.redis_password_file", file.to_str().expect("UTF-8")).start();
        let database = server.database();
        let (mut session, source) = prepared(&database);
        assert_up(&database, &mut session, &source);
    }
}

#[test]
fn a_reload_of_its_name_applies_to_running_sessions() {
    let redis = guarded(PASSWORD);
    let directory = Directory::new("password");
    let wrong = directory.put("wrong", b"wrong-secret", 0o600);
    let right = directory.put("right", PASSWORD.as_bytes(), 0o600);
    let server = Stand::setup(&format!("redis://reader@127.0.0.1:{}/0", redis.port()))
        .set("vcache.redis_password_file", wrong.to_str().expect("UTF-8"))
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    let mut reload = |name: &str| {
        server.reload_with("vcache.redis_password_file", name);
        harness::until("the session has the new setting", || session.value("SHOW vcache.redis_password_file") == name);
        health(&mut session)
    };
    assert!(reload(right.to_str().expect("UTF-8")).starts_with("ok: "));
    assert!(reload(wrong.to_str().expect("UTF-8")).contains("WRONGPASS"));
    // The user is not dropped with the password: Redis knows users that need none, and this is not one.
    assert!(reload("").contains("WRONGPASS"));
    assert!(reload(right.to_str().expect("UTF-8")).starts_with("ok: "));
    assert_up(&database, &mut session, &source);
    let role = database.role("role", "");
    let mut role = database.session_as(&role);
    role.fails("SHOW vcache.redis_password_file").assert("42501", &["redis_password_file"]);
}
