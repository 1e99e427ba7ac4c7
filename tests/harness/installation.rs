//! The PostgreSQL installation under test: a relocated tree `<prefix>/usr/lib/postgresql/<major>`.

use std::path::{Path, PathBuf};

/// Where the programs of one installation are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installation {
    home: PathBuf,
}

impl Installation {
    /// The one with vcache and the engines.
    pub fn standard() -> Self {
        Self::from_variable("VCACHE_PG_PREFIX")
    }

    /// The one whose vcache has the `#[pg_test]` functions.
    pub fn with_pg_tests() -> Self {
        Self::from_variable("VCACHE_PG_TEST_PREFIX")
    }

    fn from_variable(variable: &str) -> Self {
        let prefix = std::env::var_os(variable)
            .unwrap_or_else(|| panic!("{variable} is not set: the integration tests are run by `make test`"));
        let majors = Path::new(&prefix).join("usr/lib/postgresql");
        let mut homes: Vec<PathBuf> = std::fs::read_dir(&majors)
            .unwrap_or_else(|error| panic!("{variable}: {}: {error}", majors.display()))
            .map(|entry| entry.expect("directory entry").path())
            .filter(|home| home.join("bin/postgres").exists())
            .collect();
        homes.sort();
        let home = homes.pop().unwrap_or_else(|| panic!("{variable}: no PostgreSQL in {}", majors.display()));
        Self { home }
    }

    /// The path of a program such as `initdb`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.home.join("bin").join(name)
    }

    /// The directory of the programs.
    pub fn bin(&self) -> PathBuf {
        self.home.join("bin")
    }

    /// pg_regress, as the server's development package installs it.
    pub fn pg_regress(&self) -> PathBuf {
        self.home.join("lib/pgxs/src/test/regress/pg_regress")
    }
}
