#![no_main]

#[path = "../checks/arena.rs"]
mod arena;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    arena::check(bytes);
    arena::check_damage(bytes);
});
