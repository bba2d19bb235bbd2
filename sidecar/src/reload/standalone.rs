//! Without Kubernetes: the file of `--config`, and the files that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_config::policy::{Access, Credential, HeaderSecret, Lock, Policy, PortRef};
use postern_config::standalone::Standalone;
use postern_config::{htpasswd, verifier};
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

use super::watching::{DATA_LINK, directory, place};
use super::{LoadError, Source, read};
use crate::generation::{Generation, Origin, Parts};
use crate::identify::sha256;

/// Bytes that a secret header's value has at least: 128 bits, if they are random.
const VALUE_BYTES: usize = 16;

/// The file, as it was when the listeners were bound.
pub struct File {
    path: PathBuf,
    bound: Standalone,
    last: Option<Origin>,
}

/// A file that cannot fill the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// The list below `files` that names it.
    pub list: &'static str,
    /// Its position there.
    pub at: usize,
    /// Cause and remedy.
    pub reason: String,
}

impl File {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read, or lists no listeners.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let bound = parse(path, &read(path)?)?;
        if bound.listeners.is_empty() {
            return Err(LoadError::NoListeners(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), bound, last: None })
    }

    /// As it was read first.
    pub fn bound(&self) -> &Standalone {
        &self.bound
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Standalone, LoadError> {
    serde_yaml::from_slice(bytes).map_err(|error| LoadError::Standalone { path: path.to_owned(), error })
}

/// The policy with what its files hold, and a digest of them.
///
/// # Errors
/// Every [`FileFault`].
pub fn fill(written: &Standalone) -> Result<(Policy, [u8; 32]), Vec<FileFault>> {
    let (mut policy, mut faults, mut digests) = (written.policy.clone(), Vec::new(), Vec::new());
    let files = &written.files;
    let mut each = |list: &'static str, at: usize, file: &Path, fill: &mut dyn FnMut(&str) -> Vec<String>| {
        let bytes = std::fs::read(file).map(Zeroizing::new);
        let reasons = match &bytes {
            Ok(bytes) => {
                digests.extend_from_slice(&sha256(bytes));
                match std::str::from_utf8(bytes) {
                    Ok(text) => fill(text),
                    Err(_) => vec!["it is not UTF-8; write it anew as text".to_owned()],
                }
            }
            Err(error) => {
                vec![format!("it cannot be read ({error}); make it, or let the sidecar's user read it")]
            }
        };
        let told = |reason| FileFault { list, at, reason: format!("{}: {reason}", file.display()) };
        faults.extend(reasons.into_iter().map(told));
    };
    for (at, it) in files.roots.iter().enumerate() {
        each("roots", at, &it.file, &mut |text| match policy
            .authorities
            .iter_mut()
            .find(|authority| authority.name == it.authority)
        {
            Some(authority) if authority.roots.is_empty() => {
                text.clone_into(&mut authority.roots);
                Vec::new()
            }
            Some(_) => vec![format!("authority {:?} has roots already; remove one of them", it.authority)],
            None => vec![format!("authority {:?} is not in policy.authorities; list it there", it.authority)],
        });
    }
    for (at, it) in files.users.iter().enumerate() {
        each("users", at, &it.file, &mut |text| fill_users(&mut policy, it.port, text));
    }
    for (at, it) in files.header_values.iter().enumerate() {
        each("headerValues", at, &it.file, &mut |text| {
            let value = text.strip_suffix('\n').unwrap_or(text);
            let value = value.strip_suffix('\r').unwrap_or(value);
            let routes = policy.routes.iter_mut().filter(|route| route.name == it.route);
            let caller = routes.flat_map(|route| &mut route.callers).find(|caller| caller.name == it.caller);
            let Some(caller) = caller else {
                return vec![format!(
                    "no route {:?} in policy.routes has a caller {:?}; add it",
                    it.route, it.caller
                )];
            };
            if value.len() < VALUE_BYTES || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let remedy = "`openssl rand -hex 32` makes one";
                return vec![format!(
                    "it holds no value of at least {VALUE_BYTES} printable characters; {remedy}"
                )];
            }
            let id = format!("files/{}/{}/{at}", it.route, it.caller);
            caller.header_values.push(HeaderSecret { id, verifier: verifier::sha256(value.as_bytes()) });
            Vec::new()
        });
    }
    if faults.is_empty() { Ok((policy, sha256(&digests))) } else { Err(faults) }
}

fn fill_users(policy: &mut Policy, port: u16, text: &str) -> Vec<String> {
    let users = match htpasswd::parse(text) {
        Ok(users) => users,
        Err(faults) => return faults.iter().map(ToString::to_string).collect(),
    };
    let credential = |user: htpasswd::User| Credential {
        id: format!("files/{port}/{}", user.username),
        username: user.username,
        verifier: user.verifier,
    };
    let credentials: Vec<Credential> = users.into_iter().map(credential).collect();
    let mut is_taken = false;
    for listed in policy.ports.iter_mut().filter(|it| it.port == PortRef::Number(port)) {
        let Access::Locked { locks } = &mut listed.access else { continue };
        for lock in &mut locks.list {
            if let Lock::Basic { users: users @ None, .. } = lock {
                *users = Some(credentials.clone());
                is_taken = true;
            }
        }
    }
    if is_taken {
        return Vec::new();
    }
    vec![format!(
        "port {port} in policy.ports has no Basic lock without users; add the lock, or remove the file"
    )]
}

/// Whether a sidecar would serve by it.
///
/// # Errors
/// [`LoadError`], from the first part that is wrong.
pub fn try_out(written: &Standalone) -> Result<(), LoadError> {
    let provider = CryptoProvider::get_default().cloned().ok_or(LoadError::NoProvider)?;
    build(written, &[], &provider, None).map(drop)
}

/// What the file and its files make; none if it is what was made last.
fn build(
    written: &Standalone,
    bytes: &[u8],
    provider: &Arc<CryptoProvider>,
    last: Option<&Origin>,
) -> Result<Option<(Generation, Origin)>, LoadError> {
    let certificate = read(&written.server.certificate_file)?;
    let private_key = Zeroizing::new(read(&written.server.private_key_file)?);
    let (policy, files) = fill(written).map_err(|faults| {
        LoadError::Files(faults.into_iter().map(|it| it.reason).collect::<Vec<_>>().join("; "))
    })?;
    let digests = [sha256(bytes), sha256(&certificate), sha256(&private_key), files].concat();
    let origin = Origin { hash: format!("sha256:{}", hex::encode(sha256(&digests))), sequence: None };
    if last == Some(&origin) {
        return Ok(None);
    }
    let parts = Parts {
        policy: &policy,
        port_names: &BTreeMap::new(),
        admins: &[],
        settings: &written.settings,
        certificate,
        private_key,
        origin: origin.clone(),
    };
    Ok(Some((Generation::build(provider, parts)?, origin)))
}

impl Source for File {
    fn load(&mut self, provider: &Arc<CryptoProvider>) -> Result<Option<Generation>, LoadError> {
        let bytes = read(&self.path)?;
        let written = parse(&self.path, &bytes)?;
        let fixed = |it: &Standalone| (it.listeners.clone(), it.metrics_address, it.probe_address);
        if fixed(&written) != fixed(&self.bound) {
            return Err(LoadError::ListenersChanged);
        }
        // Watched from now on, also if one of them is what is wrong.
        self.bound = written;
        let Some((generation, origin)) = build(&self.bound, &bytes, provider, self.last.as_ref())? else {
            return Ok(None);
        };
        self.last = Some(origin);
        Ok(Some(generation))
    }

    fn files(&self) -> Vec<PathBuf> {
        let server = &self.bound.server;
        let own = [&self.path, &server.certificate_file, &server.private_key_file];
        own.into_iter().chain(self.bound.files.paths()).cloned().collect()
    }

    /// The file itself, if it takes the policy from nowhere else; or the link of the volume in which all lies that it
    /// takes the policy from. The server's certificate and its key fit together, or are not used.
    fn completes(&self, moved: &Path) -> bool {
        let is_link = moved == directory(&self.path).join(DATA_LINK);
        if !is_link && moved != place(&self.path) {
            return false;
        }
        let Ok(written) = read(&self.path).and_then(|bytes| parse(&self.path, &bytes)) else { return false };
        let lies_there = |file: &PathBuf| is_link && directory(file) == directory(&self.path);
        written.files.paths().all(lies_there)
    }
}
