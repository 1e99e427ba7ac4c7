//! Owns `vcache.redis_url`: what it means, and what of it may be shown.

use super::connection::Error;
use ::redis::{Cmd, ConnectionAddr, IntoConnectionInfo, cmd};
use std::ffi::CStr;
use std::fmt;
use std::path::PathBuf;

/// Where a Redis server is, and who one is there. `Display` shows the first alone.
#[derive(Clone)]
pub struct Endpoint {
    pub address: Address,
    username: Option<String>,
    password: Option<String>,
    database: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads a URL of one of the schemes `redis` and `redis+unix`.
    ///
    /// # Errors
    /// [`Error::Url`], which holds nothing of the URL.
    pub fn parse(url: &CStr) -> Result<Self, Error> {
        let info = url.to_str().ok().and_then(|url| url.into_connection_info().ok()).ok_or(Error::Url)?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                // An IPv6 address stands in brackets in a URL, and nowhere else.
                Address::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port: *port }
            }
            ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(Error::Url),
        };
        let redis = info.redis_settings();
        // A password with an unescaped / ? or # ends the host early: what stands before is then a part of the secret.
        if url.to_bytes().contains(&b'@') && redis.username().is_none() && redis.password().is_none() {
            return Err(Error::Url);
        }
        Ok(Self {
            address,
            username: redis.username().map(str::to_owned),
            password: redis.password().map(str::to_owned),
            database: redis.db(),
        })
    }

    /// The commands that a new connection begins with; each is answered by OK.
    pub fn greeting(&self) -> Vec<Cmd> {
        let mut commands = Vec::new();
        if let Some(password) = &self.password {
            let mut auth = cmd("AUTH");
            if let Some(username) = &self.username {
                auth.arg(username);
            }
            auth.arg(password);
            commands.push(auth);
        }
        if self.database != 0 {
            let mut select = cmd("SELECT");
            select.arg(self.database);
            commands.push(select);
        }
        commands
    }
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
