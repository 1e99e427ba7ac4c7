//! Owns PostgreSQL's settings from within: setting some for the length of one statement, and listing those that are not
//! at their defaults.

use super::varlena::c_string;
use once_cell::sync::OnceCell;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{GucContext, GucFlags, PgLogLevel, PgSqlErrorCode, pg_guard, pg_sys};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// Settings that hold until this is dropped. An ERROR in between needs no clean-up: the end of the (sub)transaction
/// restores them.
pub struct Temporarily {
    level: i32,
}

impl Temporarily {
    pub fn new() -> Self {
        // SAFETY: opens a level that `drop`, or the abort, closes.
        Self { level: unsafe { pg_sys::NewGUCNestLevel() } }
    }

    /// Sets a setting as the caller might; PostgreSQL's own error when it may not or the value is bad.
    pub fn set(&self, name: &CStr, value: &CStr) {
        // SAFETY: terminated strings; the action saves the old value in the level opened by `new`.
        unsafe {
            let context =
                if pg_sys::superuser() { pg_sys::GucContext::PGC_SUSET } else { pg_sys::GucContext::PGC_USERSET };
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                context,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }

    /// The same, left out when the setting has that value already: most sessions have most of them.
    pub fn set_unless_same(&self, name: &CStr, value: &CStr) {
        if current(name).is_none_or(|now| now != *value) {
            self.set(name, value);
        }
    }
}

impl Drop for Temporarily {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that `new` opened, restoring what it saved.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}

/// The value of a setting; `None` for one that is not there.
pub fn current(name: &CStr) -> Option<CString> {
    // SAFETY: the value, in a static buffer or the setting itself, is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
    }
}

/// What functions read though they are called IMMUTABLE: how some values are written, and what names in some texts mean.
pub const READ_BY_IMMUTABLE: [&str; 12] = [
    "bytea_output",
    "DateStyle",
    "default_text_search_config",
    "extra_float_digits",
    "IntervalStyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "quote_all_identifiers",
    "TimeZone",
    "timezone_abbreviations",
    "xmlbinary",
];

/// A setting as the current role may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// As current_setting shows it.
    Value(String),
    Missing,
    /// It is not for this role to see.
    Hidden,
    /// It is no UTF-8, so it cannot be told from others that are none.
    Garbled,
}

/// What the current role sees of a setting.
pub fn shown(name: &CStr) -> Shown {
    // SAFETY: terminated strings; a setting that is missing has no flags, and no value.
    unsafe {
        let is_hidden = pg_sys::GetConfigOptionFlags(name.as_ptr(), true) & pg_sys::GUC_SUPERUSER_ONLY as i32 != 0;
        if is_hidden && !super::access::may_see_all_settings() {
            return Shown::Hidden;
        }
        let value = pg_sys::GetConfigOptionByName(name.as_ptr(), std::ptr::null_mut(), true);
        if value.is_null() {
            return Shown::Missing;
        }
        CStr::from_ptr(value).to_str().map_or(Shown::Garbled, |value| Shown::Value(value.to_owned()))
    }
}

/// The settings that pass `wanted` and are set to something else than their built-in default, by name. It is asked of a setting once.
///
/// A setting of a library that is not loaded yet is a placeholder, which has no default: it is listed when it is set.
/// So a session names the same settings before and after the engine's library is loaded.
pub fn changed(wanted: fn(&str) -> bool) -> Vec<(String, String)> {
    thread_local! {
        static WANTED: RefCell<Wanted> = const { RefCell::new(Wanted { all: 0, of: Vec::new() }) };
    }
    // SAFETY: PostgreSQL's own table of pointers to valid settings, as many as it says.
    unsafe {
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions() as usize);
        WANTED.with_borrow_mut(|found| {
            if !found.is_of(all) {
                *found = Wanted::among(all, wanted);
            }
            let set = found.of.iter().map(|(_, setting)| *setting);
            // Nearly all are as they came: this goes first.
            set.filter(|setting| (**setting).source != pg_sys::GucSource::PGC_S_DEFAULT && !at_default(*setting))
                .map(|setting| {
                    let name = (*setting).name;
                    (c_string(name).to_ascii_lowercase(), c_string(pg_sys::GetConfigOption(name, true, false)))
                })
                .collect()
        })
    }
}

/// The settings that one has looked for in PostgreSQL's table, which is long, and where in it they stand.
struct Wanted {
    all: usize,
    of: Vec<(usize, *mut pg_sys::config_generic)>,
}

impl Wanted {
    /// # Safety
    /// The pointers are valid.
    unsafe fn among(all: &[*mut pg_sys::config_generic], wanted: fn(&str) -> bool) -> Self {
        // SAFETY: by this function's contract; names are terminated.
        let is_wanted = |setting: *mut pg_sys::config_generic| unsafe {
            CStr::from_ptr((*setting).name).to_str().is_ok_and(wanted)
        };
        let of = all.iter().copied().enumerate().filter(|(_, setting)| is_wanted(*setting)).collect();
        Self { all: all.len(), of }
    }

    /// Whether the table is as it was: settings are added, and those of a library that is loaded take the place of others.
    fn is_of(&self, all: &[*mut pg_sys::config_generic]) -> bool {
        self.all == all.len() && self.of.iter().all(|(place, setting)| all.get(*place) == Some(setting))
    }
}

/// # Safety
/// `setting` is an entry of PostgreSQL's table.
unsafe fn at_default(setting: *mut pg_sys::config_generic) -> bool {
    use pg_sys::config_type::{PGC_BOOL, PGC_ENUM, PGC_INT, PGC_REAL, PGC_STRING};
    // SAFETY: the kind says which struct the entry is the head of.
    unsafe {
        match (*setting).vartype {
            PGC_BOOL => setting.cast::<pg_sys::config_bool>().as_ref().is_some_and(|s| *s.variable == s.boot_val),
            PGC_INT => setting.cast::<pg_sys::config_int>().as_ref().is_some_and(|s| *s.variable == s.boot_val),
            PGC_REAL => setting.cast::<pg_sys::config_real>().as_ref().is_some_and(|s| *s.variable == s.boot_val),
            PGC_ENUM => setting.cast::<pg_sys::config_enum>().as_ref().is_some_and(|s| *s.variable == s.boot_val),
            PGC_STRING => setting.cast::<pg_sys::config_string>().as_ref().is_some_and(|s| {
                let (value, default) = (*s.variable, s.boot_val);
                if value.is_null() || default.is_null() {
                    return value.is_null() && default.is_null();
                }
                CStr::from_ptr(value) == CStr::from_ptr(default)
            }),
            _ => false,
        }
    }
}

/// Warns about settings of this prefix that nobody has defined, and refuses them from now on.
pub fn reserve_prefix(prefix: &CStr) {
    // SAFETY: a terminated string.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) };
}

/// Defines a setting of an integer whose default is only known when the library is loaded. `bounds`: the least and the largest value.
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's own list")]
pub fn define_int(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    value: &'static AtomicI32,
    default: i32,
    bounds: (i32, i32),
    context: GucContext,
    flags: GucFlags,
) {
    // SAFETY: all texts and the variable live as long as the process, and backends have one thread.
    unsafe {
        pg_sys::DefineCustomIntVariable(
            name.as_ptr(),
            short.as_ptr(),
            long.as_ptr(),
            value.as_ptr(),
            default,
            bounds.0,
            bounds.1,
            context as isize as _,
            flags.bits(),
            None,
            None,
            None,
        );
    }
}

/// Tells what is wrong with a value of a setting, if anything is.
pub type Objection = fn(&CStr) -> Option<&'static str>;

/// The objection to the one setting that has one, and the setting's name.
static OBJECTION: OnceCell<(&CStr, Objection, &str)> = OnceCell::new();

/// Has values of a setting that is about to be defined looked at by [`warns`]; they are taken all the same.
pub fn object(name: &'static CStr, objection: Objection, hint: &'static str) {
    // The library is loaded once.
    let _ = OBJECTION.set((name, objection, hint));
}

/// The hook for that. At a reload every backend reads the configuration: the postmaster tells the log, and a backend whoever is in the
/// middle of a statement, such as ALTER SYSTEM.
#[pg_guard]
unsafe extern "C-unwind" fn warns(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: variables of this process, and a pointer to a string or to null.
    let (concerned, value) = unsafe { (!pg_sys::IsUnderPostmaster || !pg_sys::ActivePortal.is_null(), *value) };
    if concerned
        && !value.is_null()
        && let Some((name, objection, hint)) = OBJECTION.get()
        // SAFETY: terminated, as all of PostgreSQL's.
        && let Some(why) = objection(unsafe { CStr::from_ptr(value) })
    {
        let message = format!("{} cannot be used: {why}", name.to_string_lossy());
        ErrorReport::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, "vcache")
            .set_hint(*hint)
            .report(PgLogLevel::WARNING);
    }
    true
}

/// Defines a setting of a string whose default is only known when the library is loaded. The default is never freed.
pub fn define_string(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    value: &'static AtomicPtr<c_char>,
    default: CString,
    context: GucContext,
    flags: GucFlags,
) {
    // SAFETY: as in `define_int`.
    unsafe {
        pg_sys::DefineCustomStringVariable(
            name.as_ptr(),
            short.as_ptr(),
            long.as_ptr(),
            value.as_ptr(),
            default.into_raw(),
            context as isize as _,
            flags.bits(),
            Some(warns),
            None,
            None,
        );
    }
}

/// The value of a setting that [`define_string`] has defined.
pub fn string(value: &AtomicPtr<c_char>) -> CString {
    let value = value.load(Ordering::Relaxed);
    // SAFETY: null, or a terminated string that PostgreSQL keeps until the setting is changed, by this thread.
    if value.is_null() { CString::default() } else { unsafe { CStr::from_ptr(value) }.to_owned() }
}
