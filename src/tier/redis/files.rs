//! Owns reading the files that settings name: certificates, keys, the password. Names are relative to the data directory, where a
//! backend always is, as those of ssl_key_file and its like are.
//!
//! They are read anew for each connection that is made, so a file that was replaced needs no reload.

use super::connection::Error;
use crate::pg::file;
use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A bundle of all the world's authorities is a quarter of this.
const LARGEST: u64 = 1 << 20;

/// From fcntl.h: a pipe is opened without waiting for its other end, a terminal without becoming the backend's own.
const O_NONBLOCK: i32 = 0o4000;
const O_NOCTTY: i32 = 0o400;

/// The bytes of a file. `setting` is what an error calls it: names of files are not everybody's to see.
///
/// # Errors
/// [`Error::File`].
pub fn read(setting: &'static str, name: &CStr) -> Result<Vec<u8>, Error> {
    read_if(setting, name, |_| None)
}

/// The bytes of a file that nobody else may read.
///
/// # Errors
/// [`Error::File`].
pub fn read_secret(setting: &'static str, name: &CStr) -> Result<Vec<u8>, Error> {
    read_if(setting, name, exposure)
}

/// The one line of a file that nobody else may read.
///
/// # Errors
/// [`Error::File`], which holds nothing of it.
pub fn read_secret_line(setting: &'static str, name: &CStr) -> Result<String, Error> {
    let text = String::from_utf8(read_secret(setting, name)?).map_err(|_| Error::File(setting, "is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(Error::File(setting, "is empty")),
        line if line.contains('\n') => Err(Error::File(setting, "has more than one line")),
        line => Ok(line.to_owned()),
    }
}

/// `objection`: what is wrong with a file of this kind.
fn read_if(
    setting: &'static str,
    name: &CStr,
    objection: impl Fn(&Metadata) -> Option<&'static str>,
) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| {
        Error::File(
            setting,
            match error.kind() {
                ErrorKind::NotFound => "does not exist",
                ErrorKind::PermissionDenied => "may not be read by the server",
                _ => "cannot be read",
            },
        )
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    // What is looked at is what is read, whatever takes its place meanwhile.
    let file = File::options().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Error::File(setting, "is not a regular file"));
    }
    if let Some(why) = objection(&about) {
        return Err(Error::File(setting, why));
    }
    if about.len() > LARGEST {
        return Err(Error::File(setting, "is larger than 1 MB"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// How others than the server's account might read or change it, by PostgreSQL's own rule for ssl_key_file (be-secure-common.c).
fn exposure(about: &Metadata) -> Option<&'static str> {
    let forbidden = match about.uid() {
        owner if owner == file::server_account() => 0o077,
        0 => 0o037,
        _ => return Some("must be owned by the server's account or root"),
    };
    (about.mode() & forbidden != 0).then_some(
        "has group or world access: it must be 0600 or less if the server's account owns it, 0640 or less if root does",
    )
}
