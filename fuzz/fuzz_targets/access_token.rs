#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gatehouse::fuzzing::access_token(input));
