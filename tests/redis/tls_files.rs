//! The files of TLS: what is wrong with one is said and fails no search; a reload or a rotation reaches running sessions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::{Authority, Directory, Redis, Session, Stand, Valid, free_port, until};

use crate::{assert_down, assert_up, prepared};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn until_set(session: &mut Session, name: &str, value: &str) {
    until("the session has the new setting", || session.value(&format!("SHOW {name}")) == value);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"], Valid::Now);
    let port = free_port();
    let options = certificate.options(port, &authority.file());
    let redis = Redis::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let server = Stand::setup(&format!("rediss://localhost:{port}/0"))
        .set("vcache.redis_tls_ca_file", text(&authority.file()))
        .start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);

    let own = authority.issue(&[], Valid::Now);
    let other = authority.issue(&[], Valid::Now);
    let directory = Directory::new("files");
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let key = fs::read(&own.key).expect("key");
    let open = directory.put("open.key", &key, 0o604);
    let group = directory.put("group.key", &key, 0o640);
    let noise = directory.put("noise", secret.as_bytes(), 0o600);
    let huge = directory.put("huge", &vec![b'x'; 2 << 20], 0o600);
    let missing = directory.path().join("missing");
    // Nobody writes to it: who opens it to read would wait.
    let pipe = directory.pipe("pipe");
    // The certificate, the key, the authority's certificate, and what is said.
    let cases = [
        ("", "", text(&missing), "redis_tls_ca_file does not exist"),
        ("", "", text(directory.path()), "redis_tls_ca_file is not a regular file"),
        ("", "", text(&pipe), "redis_tls_ca_file is not a regular file"),
        ("", "", text(&noise), "redis_tls_ca_file holds no certificate"),
        ("", "", text(&huge), "redis_tls_ca_file is larger"),
        (text(&own.certificate), "", "", "redis_tls_key_file is needed"),
        ("", text(&own.key), "", "redis_tls_cert_file is needed"),
        (text(&missing), text(&own.key), "", "redis_tls_cert_file does not exist"),
        (text(&own.certificate), text(&missing), "", "redis_tls_key_file does not exist"),
        (text(&own.certificate), text(&open), "", "redis_tls_key_file has group or world access"),
        (text(&own.certificate), text(&group), "", "redis_tls_key_file has group or world access"),
        (text(&own.certificate), text(&own.certificate), "", "redis_tls_key_file"),
        (text(&own.certificate), text(&noise), "", "redis_tls_key_file"),
        (text(&own.certificate), text(&other.key), "", "redis_tls_key_file does not fit"),
    ];
    for (certificate, key, authorities, why) in cases {
        server.set("vcache.redis_tls_cert_file", certificate);
        server.set("vcache.redis_tls_key_file", key);
        let believed = if authorities.is_empty() { text(&authority.file()).to_owned() } else { authorities.to_owned() };
        server.reload_with("vcache.redis_tls_ca_file", &believed);
        let mut fresh = database.session();
        assert_down(&database, &mut fresh, &source, why);
        // Where the files are is not everybody's to see.
        let role = database.role("role", "");
        let said = crate::health(&mut database.session_as(&role));
        assert!(said.contains(why) && !said.contains(text(directory.path())), "{said}");
        database.session().run(&format!("DROP ROLE {role}"));
    }
    assert!(!server.log().contains("c2VjcmV0"));

    // All is well again, for the session that has lived through it.
    server.set("vcache.redis_tls_ca_file", text(&authority.file()));
    server.set("vcache.redis_tls_key_file", text(&own.key));
    server.reload_with("vcache.redis_tls_cert_file", text(&own.certificate));
    until_set(&mut session, "vcache.redis_tls_cert_file", text(&own.certificate));
    assert_up(&database, &mut session, &source);
    drop(redis);
}

#[test]
fn root_may_own_the_key_and_lend_it_to_a_group() {
    if !nix_is_root() {
        return; // Only root can give a file to itself.
    }
    let directory = Directory::new("files");
    let key = directory.put("key", b"password\n", 0o640);
    std::os::unix::fs::chown(&key, Some(0), None).expect("chown to root");
    let redis = Redis::start_with(&["--requirepass", "password"], Some("password"));
    let server = Stand::setup(&redis.url()).set("vcache.redis_password_file", text(&key)).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert_down(&database, &mut database.session(), &source, "redis_password_file has group or world access");
}

#[test]
fn a_stranger_may_not_own_the_key_even_where_nobody_else_reads_it() {
    if !nix_is_root() {
        return; // Only root can give a file to another.
    }
    let directory = Directory::new("files");
    // The server reads it as a member of its group.
    let key = directory.put("key", b"password\n", 0o640);
    std::os::unix::fs::chown(&key, Some(1), None).expect("chown to another account");
    let redis = Redis::start_with(&["--requirepass", "password"], Some("password"));
    let server = Stand::setup(&redis.url()).set("vcache.redis_password_file", text(&key)).start();
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_down(&database, &mut session, &source, "redis_password_file must be owned by the server's account or root");
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

#[test]
fn names_are_relative_to_the_data_directory_and_rotated_files_apply_to_new_connections() {
    let (first, second) = (Authority::new(), Authority::new());
    let certificate = first.issue(&["localhost"], Valid::Now);
    let port = free_port();
    let options = certificate.options(port, &first.file());
    let redis = Redis::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let server =
        Stand::setup(&format!("rediss://localhost:{port}/0")).set("vcache.redis_tls_ca_file", "ca.pem").start();
    let believed = server.socket_directory().join("data/ca.pem");
    fs::copy(first.file(), &believed).expect("copy");
    let database = server.database();
    let (mut session, source) = prepared(&database);
    assert_up(&database, &mut session, &source);

    // Redis's certificate comes from another authority from now on: the server's file follows, then Redis is restarted.
    let renewed = second.issue(&["localhost"], Valid::Now);
    fs::copy(second.file(), &believed).expect("copy");
    assert_up(&database, &mut session, &source);
    assert_down(&database, &mut database.session(), &source, "certificate of an unknown issuer");
    fs::copy(&renewed.certificate, &certificate.certificate).expect("copy");
    fs::copy(&renewed.key, &certificate.key).expect("copy");
    redis.stop();
    redis.start_again();
    assert_up(&database, &mut session, &source);
    assert_up(&database, &mut database.session(), &source);
}
