//! Any bytes as control messages: the walk ends, an error is the last item, and what was accepted comes back the same
//! after it is written anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nocopy_msg_zerocopy::abi::{IP_RECVERR, SOL_IP};
use nocopy_msg_zerocopy::{ExtendedError, Message, messages, put_message};

fuzz_target!(|control: &[u8]| {
    let mut walk = messages(control);
    let mut accepted = Vec::new();
    let mut items = 0;
    while let Some(item) = walk.next() {
        items += 1;
        assert!(items <= control.len() / 16 + 1, "more items than headers");
        match item {
            Ok(message) => accepted.push(message),
            Err(_) => {
                assert_eq!(walk.next(), None, "an item after the error");
                break;
            }
        }
    }

    let mut written = vec![0; control.len() + 8 + accepted.len() * 16];
    let mut at = 0;
    for message in &accepted {
        let out = &mut written[at..];
        at += match message {
            Message::Completion(it) => {
                assert!(it.contains(it.lo) && it.contains(it.hi) && it.count() > 0);
                let data = ExtendedError::of_completion(*it).to_bytes();
                put_message(out, SOL_IP, IP_RECVERR, &data)
            }
            Message::Other(it) => put_message(out, it.level, it.kind, it.data),
        }
        .expect("no longer than it was");
    }
    let again: Vec<_> = messages(&written[..at])
        .map(|item| item.expect("well-formed"))
        .collect();
    assert_eq!(again, accepted);
});
