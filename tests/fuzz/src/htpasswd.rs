//! htpasswd files.

use postern_config::htpasswd::{self, Fault};
use postern_config::policy::Credential;
use postern_config::verifier::{self, MOST_WORK};
use postern_sidecar::credentials::Users;

/// A file that is accepted makes users that the sidecar accepts, within their bounds; one that is not has faults
/// with lines, which quote no hash.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match htpasswd::parse(text) {
        Ok(users) => {
            assert!(!users.is_empty() && users.len() <= htpasswd::USERS);
            let pairs = users.iter().map(|user| (user.username.as_str(), user.verifier.as_str()));
            let work = verifier::work_of(pairs).unwrap();
            let total: u128 =
                work.iter().map(|(work, count)| work.estimate().as_nanos() * *count as u128).sum();
            assert!(total <= MOST_WORK.as_nanos());
            let credentials: Vec<Credential> = users
                .into_iter()
                .map(|user| Credential {
                    id: user.username.clone(),
                    username: user.username,
                    verifier: user.verifier,
                })
                .collect();
            Users::compile(&credentials).unwrap();
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            let lines: Vec<&str> = text.lines().collect();
            for fault in faults {
                let told = fault.to_string();
                assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
                let Fault::Line { line, .. } = fault else { continue };
                let written = lines[line - 1];
                if let Some((_, hash)) =
                    written.split_once(':').filter(|(name, hash)| hash.len() > 20 && !name.contains(hash))
                {
                    assert!(!told.contains(hash), "{told:?}");
                }
            }
        }
    }
}
