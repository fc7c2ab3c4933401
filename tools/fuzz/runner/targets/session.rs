#![no_main]
//! The target `session` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("session", data));
