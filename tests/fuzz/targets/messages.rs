//! Any text as a control message of either side: it is parsed or refused with a sentence. A parsed
//! message is the same after it is written and parsed again.
#![no_main]

use aloud::message::{ClientMessage, ServerMessage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match ClientMessage::parse(text) {
        Ok(message) => {
            let json = message.to_json();
            assert_eq!(ClientMessage::parse(&json).as_ref(), Ok(&message), "{json}");
            let _ = (message.is_base(), message.type_name());
        }
        Err(fault) => {
            assert!(!fault.message.is_empty() && fault.message.len() < 400, "{}", fault.message);
            assert!(!fault.code.is_fatal());
        }
    }
    if let Ok(Some(message)) = ServerMessage::parse(text) {
        let json = message.to_json();
        serde_json::from_str::<serde_json::Value>(&json).expect("what is sent is JSON");
        assert!(matches!(ServerMessage::parse(&json), Ok(Some(_))), "{json}");
    }
});
