//! Any answer of a language model's server, server-sent events or one object: the text does not depend on how the
//! bytes are cut, and no text follows a fault.
#![no_main]

use aloud::unstable::completion;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = completion(std::iter::once(bytes));
    assert_eq!(completion(bytes.chunks(usize::from(size).max(1))), whole);
    assert_eq!(completion(bytes.chunks(1)), whole);
    assert!(whole.0.len() <= bytes.len() * 3, "{} from {} bytes", whole.0.len(), bytes.len());
    if let Err(fault) = &whole.1 {
        assert!(!fault.is_empty());
    }
});
