//! Owns TLS over a socket that never blocks: who is believed, and the bytes on both sides of the encryption.
//!
//! The server's certificate and its name are always checked. rustls reads more from the socket than it is asked for, so what it
//! has decrypted and not yet handed over must be asked for before the socket is waited for.

use super::connection::Error;
use super::files;
use super::transport::Stream;
use crate::pg::wait::For;
use crate::settings::RedisAccess;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use socket2::Socket;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::sync::Arc;

const CA_FILE: &str = "vcache.redis_tls_ca_file";
const CERT_FILE: &str = "vcache.redis_tls_cert_file";
const KEY_FILE: &str = "vcache.redis_tls_key_file";

/// How often the socket is read, some 4 kB each time, before its user looks at the deadline: what TLS says for itself, such as
/// session tickets, has nothing in it for a reader and may never end.
const AT_ONCE: usize = 16;

/// What a connection is made under: whom the server must prove to be, to whom, and who we are.
pub struct Terms {
    configuration: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Terms {
    /// Those for the server of this name, or at this numeric address, as the files say now.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Tls`].
    pub fn read(access: &RedisAccess, host: &str) -> Result<Self, Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::Tls(String::from("the host's name can stand in no certificate")))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| words(&error))?
            .with_root_certificates(authorities(access)?);
        let mut configuration = match (access.tls_cert_file.is_empty(), access.tls_key_file.is_empty()) {
            (true, true) => builder.with_no_client_auth(),
            (false, false) => {
                let chain = certificates(CERT_FILE, &files::read(CERT_FILE, &access.tls_cert_file)?)?;
                let key = PrivateKeyDer::from_pem_slice(&files::read_secret(KEY_FILE, &access.tls_key_file)?)
                    .map_err(|_| Error::File(KEY_FILE, "holds no unencrypted private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| Error::File(KEY_FILE, "does not fit the certificate"))?
            }
            (true, false) => return Err(Error::File(CERT_FILE, "is needed beside the key")),
            (false, true) => return Err(Error::File(KEY_FILE, "is needed beside the certificate")),
        };
        // It is made for one connection: there is nothing to resume.
        configuration.resumption = Resumption::disabled();
        Ok(Self { configuration: Arc::new(configuration), name })
    }
}

/// Whose certificates are believed: those of the file, or else the system's.
fn authorities(access: &RedisAccess) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    if access.tls_ca_file.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(Error::File(CA_FILE, "is empty, and the system has no certificates of authorities"));
        }
        return Ok(store);
    }
    for certificate in certificates(CA_FILE, &files::read(CA_FILE, &access.tls_ca_file)?)? {
        store.add(certificate).map_err(|_| Error::File(CA_FILE, "holds a certificate that cannot be read"))?;
    }
    Ok(store)
}

fn certificates(setting: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::File(setting, "holds no certificate in PEM")),
    }
}

/// See the head of this file.
pub struct Tls {
    connection: ClientConnection,
    socket: Socket,
}

impl Tls {
    /// Begins to speak over a connected socket.
    ///
    /// # Errors
    /// [`Error::Tls`].
    pub fn new(terms: Terms, socket: Socket) -> Result<Self, Error> {
        let connection = ClientConnection::new(terms.configuration, terms.name).map_err(|error| words(&error))?;
        Ok(Self { connection, socket })
    }

    /// Goes on with the handshake; what the socket must be waited for, or `None` when it is done.
    ///
    /// # Errors
    /// As reading and writing.
    pub fn shake(&mut self) -> io::Result<Option<For>> {
        for _ in 0..AT_ONCE {
            match self.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(For::Writing)),
                done => done?,
            }
            if !self.connection.is_handshaking() {
                return Ok(None);
            }
            match self.take_in() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(For::Reading)),
                Ok(0) => return Err(ErrorKind::BrokenPipe.into()),
                taken => taken?,
            };
        }
        // It can be written to, so that the wait only looks at the deadline.
        Ok(Some(For::Writing))
    }

    /// What has been decrypted, `None` if nothing has.
    fn hand_over(&mut self, to: &mut [u8]) -> Option<io::Result<usize>> {
        match self.connection.reader().read(to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            // Closed without a word of TLS: a reply says itself whether it is whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Some(Ok(0)),
            result => Some(result),
        }
    }

    /// Reads from the socket and decrypts; 0 when the other end has closed.
    fn take_in(&mut self) -> io::Result<usize> {
        let read = self.connection.read_tls(&mut self.socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // The other end is told why, if it takes it at once.
            let _ = self.connection.write_tls(&mut self.socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(read)
    }
}

impl Read for Tls {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        for _ in 0..AT_ONCE {
            if let Some(result) = self.hand_over(to) {
                return result;
            }
            self.take_in()?;
        }
        // Not WouldBlock: there may be more to read.
        self.hand_over(to).unwrap_or(Err(ErrorKind::Interrupted.into()))
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        self.connection.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(_) => {}
                // A server that refuses the client's certificate says so after the handshake, and closes.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return match self.take_in() {
                        Err(alert) if alert.kind() == ErrorKind::InvalidData => Err(alert),
                        _ => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Stream for Tls {
    fn holds_some(&mut self) -> bool {
        !matches!(self.connection.reader().fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

/// What went wrong, if it was a matter of TLS.
pub fn cause(error: &io::Error) -> Option<Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(words)
}

fn words(error: &rustls::Error) -> Error {
    use AlertDescription as Alert;
    let known = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate not valid yet",
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                "certificate without names (subjectAltName); its CN does not count"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "certificate not valid for the name of the host"
            }
            CertificateError::UnknownIssuer => "certificate of an unknown issuer",
            CertificateError::BadSignature => "certificate with a bad signature",
            CertificateError::Revoked => "certificate revoked",
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "certificate not made for a server"
            }
            // webpki's own errors, of which it gives the name alone.
            CertificateError::Other(other) => match other.to_string().as_str() {
                "CaUsedAsEndEntity" => "certificate of an authority (CA:TRUE), which is none of a server",
                "UnsupportedCertVersion" => "certificate of X.509 version 1, where version 3 is needed",
                _ => "certificate not acceptable",
            },
            _ => "certificate not acceptable",
        },
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => "the server demands a client certificate",
            Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate => "the server refuses the client certificate",
            Alert::HandshakeFailure => "the server refuses the handshake: it may demand a client certificate",
            Alert::ProtocolVersion => "no version of TLS in common",
            _ => return Error::Tls(format!("the server ended it with the alert {alert:?}")),
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS",
        rustls::Error::PeerIncompatible(_) => "nothing in common with the server's TLS",
        _ => return Error::Tls(error.to_string()),
    };
    Error::Tls(known.to_owned())
}
