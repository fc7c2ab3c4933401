#![no_main]
//! The target `handshake` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("handshake", data));
