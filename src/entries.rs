//! Owns the view `vcache_entries`: what tier 1 holds of this database.

use crate::key;
use crate::pg::function::{Call, Interval, interval_datum, sql_function};
use crate::pg::result::{self, Value};
use crate::pg::{time, varlena, wait};
use crate::tier::shared::{self, Lookup, Use};
use pgrx::pg_sys::Datum;
use vcache_core::codec::Entry;

sql_function!(vcache_entry_rows, pg_finfo_vcache_entry_rows, rows);

/// `namespace, key, bytes, age, expires_in, hits`. What an earlier installation of the extension has left is nobody's, and not shown.
fn rows(call: &Call) -> Datum {
    let secret = match key::secret(call.schema()) {
        Ok(secret) => secret,
        Err(error) => error.raise(),
    };
    let now = time::now();
    let mut rows = Vec::new();
    for entry in shared::entries().filter(|entry| entry.expires_at > now) {
        wait::accept_interrupts();
        let name = |bytes: &[u8]| Entry::decode_local(bytes, &secret).map(|entry| entry.header.namespace.to_owned());
        if let Lookup::Found(Ok(name)) = shared::get(entry.key, Use::Uncounted, name) {
            rows.push([
                (varlena::text_datum(&name), false),
                (varlena::text_datum(&entry.key.to_string()), false),
                (Datum::from(entry.bytes as i64), false),
                interval(now - entry.stored_at),
                interval(entry.expires_at - now),
                (Datum::from(i64::from(entry.hits)), false),
            ]);
        }
    }
    result::give(call, &rows)
}

fn interval(microseconds: i64) -> Value {
    (interval_datum(Interval { months: 0, days: 0, microseconds }), false)
}
