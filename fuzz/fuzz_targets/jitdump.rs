//! jitdump: reading it in two parts gives what reading it at once gives.
#![no_main]

use argand_debuginfo::jit::JitDump;

libfuzzer_sys::fuzz_target!(|input: (u16, Vec<u8>)| {
    let (split, bytes) = input;
    let split = usize::from(split).min(bytes.len());
    let mut whole = JitDump::default();
    let mut parts = JitDump::default();
    let all = whole.extend(&bytes);
    let Some(used) = parts.extend(&bytes[..split]) else {
        assert_eq!(all, None);
        return;
    };
    assert!(used <= split);
    assert_eq!(parts.extend(&bytes[used..]).map(|more| used + more), all);
    assert_eq!(whole.report(), parts.report());
    for word in bytes.windows(8).take(2000) {
        let address = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        assert_eq!(whole.lookup(address), parts.lookup(address));
        assert_eq!(whole.line(address), parts.line(address));
        assert_eq!(whole.eh_frame(address), parts.eh_frame(address));
    }
});
