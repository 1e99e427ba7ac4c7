//! Owns `vcache.redis_url` and what belongs to it: what they mean, and what of them may be shown.

use super::connection::Error;
use super::files;
use super::tls::Terms;
use crate::settings::RedisAccess;
use ::redis::{Cmd, ConnectionAddr, IntoConnectionInfo, cmd};
use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use url::Url;
use vcache_core::cluster::Target;

/// Where a Redis server is, and who one is there. `Display` shows the first alone.
#[derive(Clone)]
pub struct Endpoint {
    address: Address,
    tls: bool,
    username: Option<String>,
    password: Option<String>,
    database: i64,
    access: RedisAccess,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads the URL, with the names of the files that belong to it.
    ///
    /// # Errors
    /// [`Error::Url`], which holds nothing of the URL: with a character that is not escaped any of its parts may be a piece of the
    /// password.
    pub fn parse(access: &RedisAccess) -> Result<Self, Error> {
        let no_url = Error::Url("it is not a URL of the form redis://user:password@host:port/database");
        let text = access.url.to_str().ok().filter(|text| !text.contains(char::is_whitespace));
        let mut url = text.and_then(|text| Url::parse(text).ok()).ok_or(no_url.clone())?;
        let (tls, parameters): (bool, &[&str]) = match url.scheme() {
            "redis" | "valkey" => (false, &["protocol"]),
            "rediss" | "valkeys" => (true, &["protocol"]),
            "redis+unix" | "valkey+unix" | "unix" => (false, &["db", "user", "pass", "protocol"]),
            _ => {
                return Err(Error::Url(
                    "its scheme is none of redis, rediss, redis+unix, redis-cluster and redis-sentinel",
                ));
            }
        };
        check_fragment(&url)?;
        check_query(&url, parameters)?;
        // The redis crate knows the scheme only if it does the TLS.
        if tls && url.set_scheme("redis").is_err() {
            return Err(no_url);
        }
        let info = url.into_connection_info().map_err(|_| no_url.clone())?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Address::Tcp { host: host.clone(), port: *port },
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(no_url),
        };
        let redis = info.redis_settings();
        // A password with an unescaped / ? or # ends the host early: what stands before is then a part of the secret.
        if text.is_some_and(|text| text.contains('@')) && redis.username().is_none() && redis.password().is_none() {
            return Err(no_url);
        }
        if !(0..=i64::from(i32::MAX)).contains(&redis.db()) {
            return Err(Error::Url("its database is no number from 0 on"));
        }
        Ok(Self {
            address,
            tls,
            username: redis.username().map(str::to_owned),
            password: redis.password().map(str::to_owned),
            database: redis.db(),
            access: access.clone(),
        })
    }

    /// Another server, where one is the same.
    pub fn at(&self, target: &Target) -> Self {
        let address = Address::Tcp { host: target.host.clone(), port: target.port };
        Self { address, ..self.clone() }
    }

    /// The same server, where one is somebody else, whom the password file is not about.
    pub fn with_user(self, username: Option<String>, password: Option<String>) -> Self {
        let access = RedisAccess { password_file: CString::default(), ..self.access };
        Self { username, password, database: 0, access, ..self }
    }

    /// Where it is, unless that is a socket in the file system.
    pub fn target(&self) -> Option<Target> {
        match &self.address {
            Address::Tcp { host, port } => Target::new(host, *port).filter(|target| !target.host.is_empty()),
            Address::Unix(_) => None,
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What TLS is to be spoken under, if it is to be, as the files say now.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Tls`].
    pub fn tls(&self) -> Result<Option<Terms>, Error> {
        match &self.address {
            Address::Tcp { host, .. } if self.tls => Terms::read(&self.access, host).map(Some),
            _ => Ok(None),
        }
    }

    /// The password: the file's, as it is now, or else the URL's.
    fn password(&self) -> Result<Option<String>, Error> {
        let file = &self.access.password_file;
        if file.is_empty() {
            return Ok(self.password.clone());
        }
        files::read_secret_line("vcache.redis_password_file", file).map(Some)
    }

    /// The commands that a new connection begins with; each is answered by OK.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn greeting(&self) -> Result<Vec<Cmd>, Error> {
        let mut commands = Vec::new();
        let password = self.password()?;
        if self.username.is_some() || password.is_some() {
            let mut auth = cmd("AUTH");
            if let Some(username) = &self.username {
                auth.arg(username);
            }
            // A user who needs no password is believed with any.
            auth.arg(password.unwrap_or_default());
            commands.push(auth);
        }
        if self.database != 0 {
            let mut select = cmd("SELECT");
            select.arg(self.database);
            commands.push(select);
        }
        Ok(commands)
    }
}

fn check_fragment(url: &Url) -> Result<(), Error> {
    match url.fragment() {
        None => Ok(()),
        Some("insecure") => Err(Error::Url("#insecure is refused: a server's certificate is always checked")),
        Some(_) => Err(Error::Url("it has a #, which is written %23 in a password")),
    }
}

fn check_query(url: &Url, known: &[&str]) -> Result<(), Error> {
    let mut seen = Vec::new();
    for (name, value) in url.query_pairs() {
        if !known.contains(&&*name) {
            return Err(Error::Url("it has a parameter that its scheme does not know"));
        }
        if name == "protocol" && value != "2" && value != "resp2" {
            return Err(Error::Url("its protocol is not 2, the only one that is spoken"));
        }
        if seen.contains(&name) {
            return Err(Error::Url("it has a parameter twice"));
        }
        seen.push(name);
    }
    Ok(())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
