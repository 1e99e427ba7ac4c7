//! Owns reading the files that settings name: certificates, keys, the password. Names are relative to the data directory, where a
//! backend always is, as those of ssl_key_file and its like are.
//!
//! They are read anew for each connection that is made, so a file that was replaced needs no reload.

use super::connection::Error;
use crate::pg::file;
use std::ffi::CStr;
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A bundle of all the world's authorities is a quarter of this.
const LARGEST: u64 = 1 << 20;

/// The bytes of a file. `setting` is what an error calls it: names of files are not everybody's to see.
///
/// # Errors
/// [`Error::File`].
pub fn read(setting: &'static str, name: &CStr) -> Result<Vec<u8>, Error> {
    read_if(setting, name, |_| true)
}

/// The bytes of a file that nobody else may read.
///
/// # Errors
/// [`Error::File`].
pub fn read_secret(setting: &'static str, name: &CStr) -> Result<Vec<u8>, Error> {
    read_if(setting, name, is_private)
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

fn read_if(setting: &'static str, name: &CStr, may_be_read: impl Fn(&Metadata) -> bool) -> Result<Vec<u8>, Error> {
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
    // Before it is opened: opening a pipe would wait for its other end.
    let about = fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(Error::File(setting, "is not a regular file"));
    }
    if !may_be_read(&about) {
        return Err(Error::File(
            setting,
            "has group or world access: it must be 0600 or less if the server's account owns it, 0640 or less if root does",
        ));
    }
    if about.len() > LARGEST {
        return Err(Error::File(setting, "is larger than 1 MB"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

/// PostgreSQL's own rule for ssl_key_file (be-secure-common.c).
fn is_private(about: &Metadata) -> bool {
    let forbidden = match about.uid() {
        owner if owner == file::server_account() => 0o077,
        0 => 0o037,
        _ => return false,
    };
    about.mode() & forbidden == 0
}
