//! Owns the server's environment as the source of defaults: REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, REDIS_DB, REDIS_TTL. A setting goes
//! before it. What is malformed in it is told by a WARNING when the library is loaded, and is as if it were not there.

use pgrx::PgLogLevel;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use std::ffi::CString;
use std::str::FromStr;
use url::Url;

/// The default of `vcache.ttl`, in seconds.
pub fn ttl() -> Option<i32> {
    number("REDIS_TTL", |ttl: &i32| *ttl >= 0)
}

/// The default of `vcache.redis_url`.
pub fn redis_url() -> CString {
    let host = variable("REDIS_HOST").unwrap_or_else(|| String::from("127.0.0.1"));
    let port = number("REDIS_PORT", |port: &u16| *port > 0).unwrap_or(6379);
    let database = number("REDIS_DB", |database: &u32| *database <= i32::MAX as u32).unwrap_or(0);
    let mut url = address(&host, port, database);
    if url.is_none() {
        warn("REDIS_HOST");
        url = address("127.0.0.1", port, database);
    }
    let url = url.map(|mut url| {
        if let Some(password) = variable("REDIS_PASSWORD") {
            // It fails for a URL without a host alone. Special characters are percent-encoded.
            // A % is not: it could stand for itself or begin an encoded byte.
            let _ = url.set_password(Some(&password.replace('%', "%25")));
        }
        url.to_string()
    });
    CString::new(url.unwrap_or_default()).unwrap_or_default()
}

fn address(host: &str, port: u16, database: u32) -> Option<Url> {
    // An IPv6 address stands in brackets.
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut url = Url::parse("redis://host").ok()?;
    url.set_host(Some(&host)).ok()?;
    url.set_port(Some(port)).ok()?;
    url.set_path(&database.to_string());
    Some(url)
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<N: FromStr>(name: &str, fits: impl Fn(&N) -> bool) -> Option<N> {
    let number = variable(name)?.trim().parse().ok().filter(fits);
    if number.is_none() {
        warn(name);
    }
    number
}

fn warn(name: &str) {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("environment variable {name} is malformed and is ignored"),
        "vcache",
    )
    .set_hint("Correct it in the server's environment, or use the settings vcache.redis_url and vcache.ttl.")
    .report(PgLogLevel::WARNING);
}
