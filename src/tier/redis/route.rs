//! Owns which server a command goes to: the one that `vcache.redis_url` names, the node of a cluster that has the key, or the master
//! that sentinels name.

use super::breaker::{Breakers, Purpose};
use super::cluster::Cluster;
use super::connection::Error;
use super::endpoint::Endpoint;
use super::link::{Command, Deadlines, Link};
use super::sentinel::Sentinels;
use crate::settings::RedisAccess;
use ::redis::Value;
use std::ffi::{CStr, CString};
use std::fmt;
use url::form_urlencoded;

/// What a URL may name at most.
const MAX_HOSTS: usize = 100;

const NO_CLUSTER: Error = Error::Url("it is not a URL of the form redis-cluster://user:password@host:port,host:port");
const NO_SENTINEL: Error =
    Error::Url("it is not a URL of the form redis-sentinel://user:password@host:port,host:port/master/database");

/// What a command is about.
#[derive(Clone, Copy)]
pub enum To<'key> {
    /// One key, wherever it is.
    Key(&'key [u8]),
    /// All that one master has, by its number.
    Master(usize),
}

/// The way to Redis. `Display` shows where it leads, and no secret.
pub struct Route {
    /// Not of a cluster, whose nodes have their own.
    breakers: Breakers,
    way: Result<Way, Error>,
}

enum Way {
    One(Box<Link>),
    Cluster(Box<Cluster>),
    Sentinels(Box<Sentinels>),
}

impl Route {
    /// By a URL: `redis-cluster://user:password@host:port,host:port,…`,
    /// `redis-sentinel://user:password@host:port,host:port,…/master/database?sentinel_username=…&sentinel_password=…`, both with
    /// `rediss` for TLS, or one of [`Endpoint::parse`].
    pub fn of(access: &RedisAccess) -> Self {
        Self { breakers: Breakers::of(&access.url, None), way: Way::parse(access) }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn run(&mut self, purpose: Purpose, to: To, command: &Command) -> Result<Value, Error> {
        let attempt = match &self.way {
            Ok(Way::Cluster(_)) => None,
            _ => Some(self.breakers.admit(purpose, || self.to_string())?),
        };
        let deadlines = Deadlines::begin();
        let result = match (&mut self.way, to) {
            (Err(error), _) => Err(error.clone()),
            (Ok(Way::One(link)), _) => link.run(&[command], &deadlines),
            (Ok(Way::Sentinels(sentinels)), _) => sentinels.run(command, &deadlines),
            (Ok(Way::Cluster(cluster)), To::Key(key)) => cluster.run(purpose, key, command, &deadlines),
            (Ok(Way::Cluster(cluster)), To::Master(number)) => cluster.run_at(number, purpose, command, &deadlines),
        };
        if let Some(attempt) = attempt {
            attempt.ended(purpose, &result, || self.to_string());
        }
        result
    }

    /// How many masters the keys are spread over, as the cluster says now.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn masters(&mut self, purpose: Purpose) -> Result<usize, Error> {
        match &mut self.way {
            Ok(Way::Cluster(cluster)) => cluster.masters(purpose),
            _ => Ok(1),
        }
    }

    /// Whether a command may be about keys of one slot alone.
    pub fn is_cluster(&self) -> bool {
        matches!(self.way, Ok(Way::Cluster(_)))
    }

    /// Those of whoever was asked last.
    pub fn breakers(&self) -> Breakers {
        match &self.way {
            Ok(Way::Cluster(cluster)) => cluster.breakers(),
            _ => self.breakers,
        }
    }

    /// Why nothing is stored, be it on one of several nodes alone.
    pub fn why_not_stored(&self) -> Option<String> {
        match &self.way {
            Ok(Way::Cluster(cluster)) => cluster.why_not_stored(),
            _ => self.breakers.why_not_stored(),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Ok(Way::One(link)) => link.endpoint.fmt(f),
            Ok(Way::Cluster(cluster)) => cluster.fmt(f),
            Ok(Way::Sentinels(sentinels)) => sentinels.fmt(f),
            Err(_) => f.write_str("vcache.redis_url"),
        }
    }
}

/// What is wrong with a URL, if anything is. It holds nothing of the URL.
pub fn why_malformed(url: &CStr) -> Option<&'static str> {
    let access = RedisAccess { url: url.to_owned(), ..RedisAccess::default() };
    match Meaning::of(&access) {
        Err(Error::Url(why)) if !url.is_empty() => Some(why),
        _ => None,
    }
}

/// What a URL says.
enum Meaning {
    One(Endpoint),
    Cluster(Vec<Endpoint>),
    Sentinels(Box<Sentinels>),
}

impl Meaning {
    /// [`Error::Url`] holds nothing of the URL.
    fn of(access: &RedisAccess) -> Result<Self, Error> {
        let text = access.url.to_str().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let several = |scheme, error| Several::parse(access, scheme, rest).ok_or(error);
        match scheme {
            "redis-cluster" => several("redis", NO_CLUSTER)?.cluster(),
            "rediss-cluster" => several("rediss", NO_CLUSTER)?.cluster(),
            "redis-sentinel" => several("redis", NO_SENTINEL)?.sentinels(),
            "rediss-sentinel" => several("rediss", NO_SENTINEL)?.sentinels(),
            _ => Endpoint::parse(access).map(Self::One),
        }
    }
}

impl Way {
    fn parse(access: &RedisAccess) -> Result<Self, Error> {
        Ok(match Meaning::of(access)? {
            Meaning::One(endpoint) => Self::One(Box::new(Link::new(endpoint))),
            Meaning::Cluster(seeds) => Self::Cluster(Box::new(Cluster::new(access.url.clone(), seeds))),
            Meaning::Sentinels(sentinels) => Self::Sentinels(sentinels),
        })
    }
}

/// A URL that names several hosts.
struct Several<'url> {
    access: &'url RedisAccess,
    /// That of a URL for one of them.
    scheme: &'url str,
    /// With the @ behind it, if it is there.
    user: &'url str,
    hosts: Vec<&'url str>,
    path: &'url str,
    query: &'url str,
}

impl<'url> Several<'url> {
    /// Reads what stands behind the `://`.
    fn parse(access: &'url RedisAccess, scheme: &'url str, rest: &'url str) -> Option<Self> {
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // A password with an unescaped / ? or # ends the hosts early: what stands before is then a part of the secret.
        if tail.contains(['@', '#']) {
            return None;
        }
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<_> = hosts.split(',').collect();
        if hosts.len() > MAX_HOSTS || hosts.iter().any(|host| host.is_empty()) {
            return None;
        }
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        Some(Self { access, scheme, user, hosts, path: path.strip_prefix('/').unwrap_or(path), query })
    }

    /// What the URL for one host says.
    fn endpoint(&self, host: &str, database: &str, query: &str) -> Result<Endpoint, Error> {
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}://{}{host}/{database}{mark}{query}", self.scheme, self.user);
        let url = CString::new(url).map_err(|_| NO_CLUSTER)?;
        Endpoint::parse(&RedisAccess { url, ..self.access.clone() })
    }

    fn cluster(&self) -> Result<Meaning, Error> {
        match self.path.parse::<u32>() {
            Ok(0) => {}
            Ok(_) => return Err(Error::Url("a cluster has database 0 alone")),
            Err(_) if self.path.is_empty() => {}
            Err(_) => return Err(NO_CLUSTER),
        }
        let seeds: Result<_, _> = self.hosts.iter().map(|host| self.endpoint(host, "0", self.query)).collect();
        seeds.map(Meaning::Cluster)
    }

    fn sentinels(&self) -> Result<Meaning, Error> {
        let (master, database) = self.path.split_once('/').unwrap_or((self.path, "0"));
        // The characters that sentinels allow.
        if master.is_empty() || !master.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            return Err(NO_SENTINEL);
        }
        let (mut username, mut password) = (None, None);
        let mut others = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(self.query.as_bytes()) {
            match name.as_ref() {
                "sentinel_username" if username.is_none() => username = Some(value.into_owned()),
                "sentinel_password" if password.is_none() => password = Some(value.into_owned()),
                // Unknown here; refused there if it is there.
                _ => _ = others.append_pair(&name, &value),
            }
        }
        let query = others.finish();
        let mut sentinels = Vec::new();
        let mut template = Err(NO_SENTINEL);
        for host in &self.hosts {
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let host = if has_port { (*host).to_owned() } else { format!("{host}:26379") };
            let endpoint = self.endpoint(&host, database, &query)?;
            sentinels.push(endpoint.clone().with_user(username.clone(), password.clone()));
            template = Ok(endpoint);
        }
        Ok(Meaning::Sentinels(Box::new(Sentinels::new(sentinels, master.to_owned(), template?))))
    }
}
