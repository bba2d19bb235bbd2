//! The header with a user's name and password.

use postern_sidecar::credentials::Presented;

/// A name has no colon and no control character, and `Debug` shows nothing.
pub fn check(data: &[u8]) {
    match Presented::parse(data) {
        Ok(presented) => {
            let name = presented.username();
            assert!(name.len() <= 255 && !name.iter().any(|byte| byte.is_ascii_control() || *byte == b':'));
            assert_eq!(format!("{presented:?}"), "Presented(…)");
            assert!(data.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic ")));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
