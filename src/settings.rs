//! Owns the settings: their names, defaults, bounds and words.

use crate::pg::{guc, shmem};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CString, c_char};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

mod environment;

static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static TTL: AtomicI32 = AtomicI32::new(0);
static FETCH_K: GucSetting<i32> = GucSetting::<i32>::new(20);
static MAX_TOP_K: GucSetting<i32> = GucSetting::<i32>::new(1000);
static TRACK_TIMING: GucSetting<bool> = GucSetting::<bool>::new(true);
static STATS_MAX: GucSetting<i32> = GucSetting::<i32>::new(1000);
static SHARED_MEMORY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static FLIGHT_WAIT: GucSetting<i32> = GucSetting::<i32>::new(1000);
static MAX_ENTRY_SIZE: GucSetting<i32> = GucSetting::<i32>::new(256);
static REDIS_URL: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static REDIS_PASSWORD_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static REDIS_TLS_CA_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static REDIS_TLS_CERT_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static REDIS_TLS_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static REDIS_IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300);
static REDIS_CONNECT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(100);
static REDIS_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(50);
static REDIS_AUTHENTICATE_ENTRIES: GucSetting<bool> = GucSetting::<bool>::new(false);
static KEY_PREFIX: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"vcache"));

/// Whether searches look anything up or store anything.
pub fn enabled() -> bool {
    ENABLED.get()
}

/// How long an entry lives unless the call or the namespace says otherwise, in microseconds.
pub fn ttl() -> i64 {
    i64::from(TTL.load(Ordering::Relaxed)) * 1_000_000
}

/// Rows that a miss asks for at least.
pub fn fetch_k() -> u32 {
    FETCH_K.get().unsigned_abs()
}

/// The largest top_k.
pub fn max_top_k() -> i32 {
    MAX_TOP_K.get()
}

/// Whether the statistics hold how long searches take.
pub fn track_timing() -> bool {
    TRACK_TIMING.get()
}

/// How many namespaces have statistics of their own.
pub fn stats_max() -> usize {
    STATS_MAX.get().unsigned_abs() as usize
}

/// What tier 1 takes, in bytes; 0 without one.
pub fn shared_memory_size() -> usize {
    SHARED_MEMORY_SIZE.get().unsigned_abs() as usize * 1024
}

/// The same as a person writes it.
pub fn shared_memory_size_shown() -> String {
    let kilobytes = SHARED_MEMORY_SIZE.get().unsigned_abs();
    match kilobytes {
        0 => "0".into(),
        whole if whole % (1 << 20) == 0 => format!("{}GB", whole >> 20),
        whole if whole % 1024 == 0 => format!("{}MB", whole >> 10),
        _ => format!("{kilobytes}kB"),
    }
}

/// How long a search waits for another session that computes what it has not found.
pub fn flight_wait() -> Duration {
    Duration::from_millis(u64::from(FLIGHT_WAIT.get().unsigned_abs()))
}

/// The largest entry that is stored, in bytes.
pub fn max_entry_size() -> usize {
    MAX_ENTRY_SIZE.get().unsigned_abs() as usize * 1024
}

/// Where Redis is, and how one gets in. The URL is empty for nowhere; it may hold a password: never show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisAccess {
    pub url: CString,
    pub password_file: CString,
    pub tls_ca_file: CString,
    pub tls_cert_file: CString,
    pub tls_key_file: CString,
}

/// See [`RedisAccess`]; a file that is not set has an empty name.
pub fn redis_access() -> RedisAccess {
    RedisAccess {
        url: guc::string(&REDIS_URL),
        password_file: REDIS_PASSWORD_FILE.get().unwrap_or_default(),
        tls_ca_file: REDIS_TLS_CA_FILE.get().unwrap_or_default(),
        tls_cert_file: REDIS_TLS_CERT_FILE.get().unwrap_or_default(),
        tls_key_file: REDIS_TLS_KEY_FILE.get().unwrap_or_default(),
    }
}

/// How long a connection may lie idle and still be used.
pub fn redis_idle_timeout() -> Duration {
    match REDIS_IDLE_TIMEOUT.get().unsigned_abs() {
        0 => Duration::MAX,
        seconds => Duration::from_secs(u64::from(seconds)),
    }
}

/// The deadline of connecting, greeting included.
pub fn redis_connect_timeout() -> Duration {
    Duration::from_millis(u64::from(REDIS_CONNECT_TIMEOUT.get().unsigned_abs()))
}

/// The deadline of one command on an open connection.
pub fn redis_timeout() -> Duration {
    Duration::from_millis(u64::from(REDIS_TIMEOUT.get().unsigned_abs()))
}

/// Whether what Redis holds must have been put there by who has the database's secret.
pub fn redis_authenticate_entries() -> bool {
    REDIS_AUTHENTICATE_ENTRIES.get()
}

/// What the names of vcache's keys in Redis begin with.
pub fn key_prefix() -> CString {
    KEY_PREFIX.get().unwrap_or_default()
}

/// Defines the settings, when the library is loaded. `url_objection` tells what is wrong with a URL.
pub fn define(url_objection: guc::Objection) {
    GucRegistry::define_bool_guc(
        c"vcache.enabled",
        c"Enables the cache.",
        c"The default is on. When off, every search asks the engine; nothing is looked up or stored.",
        &ENABLED,
        GucContext::Userset,
        GucFlags::default(),
    );
    guc::define_int(
        c"vcache.ttl",
        c"Sets how long an answer may be used again.",
        c"The default is REDIS_TTL seconds of the server's environment, else 5 minutes. A ttl of the namespace or of the call goes before. 0 makes every search ask the engine.",
        &TTL,
        environment::ttl().unwrap_or(300),
        (0, i32::MAX),
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"vcache.fetch_k",
        c"Sets how many rows a miss asks the engine for at least.",
        c"The default is 20. More rows make the entry answer larger values of top_k, and take more memory.",
        &FETCH_K,
        1,
        i32::MAX / 2,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"vcache.flight_wait",
        c"Sets how long a search waits for another session that is computing the same answer.",
        c"The default is 1s. Afterwards it asks the engine itself. 0: it does so at once, and nobody waits for it.",
        &FLIGHT_WAIT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"vcache.max_top_k",
        c"Sets the largest top_k that a search may ask for.",
        c"The default is 1000. Rows of an answer are held in memory at once.",
        &MAX_TOP_K,
        1,
        i32::MAX / 2,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"vcache.track_timing",
        c"Enables the times in vcache_stats.",
        c"The default is on. It costs two readings of the clock a search.",
        &TRACK_TIMING,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"vcache.max_entry_size",
        c"Sets the largest entry that is stored.",
        c"The default is 256kB. A larger answer is returned and not stored.",
        &MAX_ENTRY_SIZE,
        1,
        512 * 1024,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    let hint = "Special characters in a user's name or password are percent-encoded: %40 stands for @, %3A for :, %2F for /, %23 for #, %25 for %.";
    guc::object(c"vcache.redis_url", url_objection, hint);
    guc::define_string(
        c"vcache.redis_url",
        c"Sets where Redis is.",
        c"The default is what REDIS_HOST, REDIS_PORT, REDIS_PASSWORD and REDIS_DB of the server's environment say, else redis://127.0.0.1:6379/0. Forms: redis://user:password@host:port/database, rediss:// for TLS, redis+unix:///path?db=0, redis-cluster://host:port,host:port and redis-sentinel://host:port,host:port/master. Empty turns Redis off.",
        &REDIS_URL,
        environment::redis_url(),
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    for (name, short, long, setting) in [
        (
            c"vcache.redis_password_file",
            c"Sets the file that holds the password for Redis.",
            c"One line, read for each new connection, that goes before a password in the URL. The file must be the server's or root's, and closed to others. The default is empty: none.",
            &REDIS_PASSWORD_FILE,
        ),
        (
            c"vcache.redis_tls_ca_file",
            c"Sets the file with the certificates of the authorities that Redis' certificate may come from.",
            c"The default is empty: those of the system. It is read for each new connection by TLS (rediss://).",
            &REDIS_TLS_CA_FILE,
        ),
        (
            c"vcache.redis_tls_cert_file",
            c"Sets the file with the certificate that vcache shows to Redis.",
            c"The default is empty: none. It is read for each new connection by TLS (rediss://).",
            &REDIS_TLS_CERT_FILE,
        ),
        (
            c"vcache.redis_tls_key_file",
            c"Sets the file with the private key of vcache.redis_tls_cert_file.",
            c"The default is empty: none. The file must be the server's or root's, and closed to others.",
            &REDIS_TLS_KEY_FILE,
        ),
    ] {
        GucRegistry::define_string_guc(name, short, long, setting, GucContext::Sighup, GucFlags::SUPERUSER_ONLY);
    }
    GucRegistry::define_int_guc(
        c"vcache.redis_idle_timeout",
        c"Sets how long a connection to Redis may lie idle and still be used.",
        c"The default is 5min; 0 is for ever. An older one is closed by the next search, which makes a new one.",
        &REDIS_IDLE_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"vcache.redis_connect_timeout",
        c"Sets how long connecting to Redis may take.",
        c"The default is 100ms: the deadline of finding the address, connecting, TLS and authenticating together.",
        &REDIS_CONNECT_TIMEOUT,
        1,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"vcache.redis_timeout",
        c"Sets how long one command to Redis may take.",
        c"The default is 50ms: the deadline of a whole command on an open connection. A search that misses sends two.",
        &REDIS_TIMEOUT,
        1,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"vcache.redis_authenticate_entries",
        c"Enables tags that show whether an entry in Redis is vcache's own.",
        c"The default is off. When on, entries carry a tag of keyed BLAKE3 under the database's secret, and those without a right one are not used. It costs some microseconds for each entry that is read or stored.",
        &REDIS_AUTHENTICATE_ENTRIES,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"vcache.key_prefix",
        c"Sets what the names of keys in Redis begin with.",
        c"The default is vcache. A colon and 32 hexadecimal digits follow it.",
        &KEY_PREFIX,
        GucContext::Sighup,
        GucFlags::default(),
    );
    // What follows is for the whole server. A session that loads the library itself could not set it, nor tell a mistyped
    // setting from one that only counts at server start.
    if !shmem::is_preloading() {
        return;
    }
    GucRegistry::define_int_guc(
        c"vcache.shared_memory_size",
        c"Sets how much shared memory holds entries.",
        c"The default is 64MB. It is taken at server start, beside shared_buffers. 0 turns this tier off.",
        &SHARED_MEMORY_SIZE,
        0,
        i32::MAX,
        GucContext::Postmaster,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"vcache.stats_max",
        c"Sets how many namespaces have statistics of their own.",
        c"The default is 1000; each takes 408 bytes of shared memory. The others are counted together.",
        &STATS_MAX,
        1,
        1_000_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    guc::reserve_prefix(c"vcache");
}
