#![no_main]
//! The target `websocket` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("websocket", data));
