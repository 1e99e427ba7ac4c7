//! Certificates of a test's own: an authority, and what it issues, as files of the servers' account.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::directory::Directory;

/// An authority with a name of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: Directory,
    issued: AtomicU32,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// In PEM.
    pub certificate: PathBuf,
    /// In PEM, closed to others.
    pub key: PathBuf,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    /// Now.
    Now,
    /// No more.
    Before,
    /// Not yet.
    After,
}

impl Authority {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "it makes a directory and a process")]
    pub fn new() -> Self {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let directory = Directory::new("certificates");
        about.distinguished_name.push(DnType::CommonName, directory.path().display().to_string());
        let key = KeyPair::generate().expect("key");
        directory.put("ca.pem", about.self_signed(&key).expect("certificate").pem().as_bytes(), 0o644);
        Self { issuer: Issuer::new(about, key), directory, issued: AtomicU32::new(0) }
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Issues a certificate for these names, which may be numeric addresses; a client's needs none.
    pub fn issue(&self, names: &[&str], valid: Valid) -> Certificate {
        let (about, key) = request(names, valid);
        let pem = about.signed_by(&key, &self.issuer).expect("certificate").pem();
        self.write(&pem, &key)
    }

    /// Issues the certificate of a further authority, with these names.
    pub fn issue_authority(&self, names: &[&str]) -> Certificate {
        let (mut about, key) = request(names, Valid::Now);
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = about.signed_by(&key, &self.issuer).expect("certificate").pem();
        self.write(&pem, &key)
    }

    /// One that has signed itself.
    pub fn self_signed(&self, names: &[&str]) -> Certificate {
        let (about, key) = request(names, Valid::Now);
        let pem = about.self_signed(&key).expect("certificate").pem();
        self.write(&pem, &key)
    }

    fn write(&self, pem: &str, key: &KeyPair) -> Certificate {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        Certificate {
            certificate: self.directory.put(&format!("{number}.pem"), pem.as_bytes(), 0o644),
            key: self.directory.put(&format!("{number}.key"), key.serialize_pem().as_bytes(), 0o600),
        }
    }
}

impl Certificate {
    /// The options of redis-server for it, with an authority for its clients.
    pub fn options(&self, port: u16, authority: &Path) -> Vec<String> {
        let file = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let port = port.to_string();
        let (certificate, key, authority) = (file(&self.certificate), file(&self.key), file(authority));
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key]
            .into_iter()
            .chain(["--tls-ca-cert-file", &authority, "--tls-auth-clients", "no"])
            .map(str::to_owned)
            .collect()
    }
}

fn request(names: &[&str], valid: Valid) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut about = CertificateParams::new(names).expect("names");
    let years = match valid {
        Valid::Now => (2020, 2100),
        Valid::Before => (2020, 2021),
        Valid::After => (2100, 2101),
    };
    (about.not_before, about.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    (about, KeyPair::generate().expect("key"))
}
