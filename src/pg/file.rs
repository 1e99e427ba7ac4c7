//! Owns what PostgreSQL knows of files: whose they must be.

// SAFETY: it takes nothing, changes nothing and cannot fail.
unsafe extern "C" {
    safe fn geteuid() -> u32;
}

/// The account that the server runs as.
pub fn server_account() -> u32 {
    geteuid()
}
