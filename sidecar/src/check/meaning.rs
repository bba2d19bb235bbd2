//! The file against those who will use its values: each is asked about each part by itself, so that no fault hides
//! another, and at last about the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_config::policy::{Access, Caller, Lock, Policy as Written, PortRef};
use postern_config::standalone::Standalone;

use super::Faults;
use super::tree::{Node, Step};
use crate::authorize::policy::Policy;
use crate::credentials::{Secrets, Users};
use crate::identify::Authorities;
use crate::identify::matcher::Matcher;
use crate::reload::standalone::{self, FileFault};

use Step::{At, Key};

/// Finds everything that could not be used.
pub(super) fn judge(written: &Standalone, tree: &Node, faults: &mut Faults<'_>) {
    let mut judge = Judge { written, tree, faults };
    judge.listeners();
    let filled = judge.files();
    let policy = filled.as_ref().unwrap_or(&written.policy);
    judge.authorities(policy);
    judge.ports(policy);
    judge.routes(policy);
    // What only shows in the whole, such as one name twice, or a key that is not the certificate's.
    if judge.faults.found.is_empty()
        && let Err(error) = standalone::try_out(written)
    {
        judge.faults.add(None, error.to_string());
    }
}

struct Judge<'a, 'b, 'c> {
    written: &'a Standalone,
    tree: &'a Node,
    faults: &'b mut Faults<'c>,
}

impl Judge<'_, '_, '_> {
    fn tell(&mut self, path: &[Step<'_>], message: impl std::fmt::Display) {
        let name = path.iter().fold(String::new(), |name, step| match step {
            Key(key) if name.is_empty() => (*key).to_owned(),
            Key(key) => format!("{name}.{key}"),
            At(at) => format!("{name}[{at}]"),
        });
        self.faults.at(self.tree.follow(path), &name, message);
    }

    fn listeners(&mut self) {
        let (written, mut seen) = (self.written, BTreeMap::new());
        if written.listeners.is_empty() {
            self.tell(&[Key("listeners")], "there is none; give at least one");
        }
        for (at, listener) in written.listeners.iter().enumerate() {
            let path = |field| [Key("listeners"), At(at), Key(field)];
            let listed = written.policy.ports.iter().any(|it| it.port == PortRef::Number(listener.port));
            if !listed {
                let message = format!(
                    "{} is not in policy.ports, so everybody would be refused; list it there",
                    listener.port
                );
                self.tell(&path("port"), message);
            }
            if listener.address.port() != 0
                && let Some(first) = seen.insert(listener.address, at)
            {
                self.tell(
                    &path("address"),
                    format!("listeners[{first}] listens there already; choose another"),
                );
            }
        }
        for (at, port) in written.policy.ports.iter().enumerate() {
            let path = [Key("policy"), Key("ports"), At(at), Key("port")];
            match &port.port {
                PortRef::Name(name) => {
                    self.tell(
                        &path,
                        format!("{name:?} is a name, which only pods have; write the listener's number"),
                    );
                }
                PortRef::Number(number) => {
                    if !written.listeners.iter().any(|it| it.port == *number) {
                        self.tell(
                            &path,
                            format!("no listener leads to {number}; add one, or remove the port"),
                        );
                    }
                }
            }
        }
    }

    /// The policy with what lies in files, if all of them could be read.
    fn files(&mut self) -> Option<Written> {
        for (field, file) in [
            ("certificateFile", &self.written.server.certificate_file),
            ("privateKeyFile", &self.written.server.private_key_file),
        ] {
            if let Err(error) = std::fs::read(file) {
                self.tell(&[Key("server"), Key(field)], unreadable(file, &error));
            }
        }
        match standalone::fill(self.written) {
            Ok((policy, _)) => Some(policy),
            Err(all) => {
                for FileFault { list, at, reason } in all {
                    self.tell(&[Key("files"), Key(list), At(at)], reason);
                }
                None
            }
        }
    }

    fn authorities(&mut self, policy: &Written) {
        let mut seen = BTreeSet::new();
        for (at, authority) in policy.authorities.iter().enumerate() {
            let path = [Key("policy"), Key("authorities"), At(at)];
            if !seen.insert(&authority.name) {
                self.tell(&path, format!("the name {:?} is taken; give it another", authority.name));
            }
            // Its roots may lie in a file, of which something was told already.
            let is_filled = self.written.files.roots.iter().any(|it| it.authority == authority.name);
            if (!is_filled || !authority.roots.is_empty())
                && let Err(error) = Authorities::parse(std::slice::from_ref(authority), Vec::new())
            {
                self.tell(&path, error);
            }
        }
    }

    /// Each port by itself.
    fn ports(&mut self, policy: &Written) {
        for (at, port) in policy.ports.iter().enumerate() {
            let path = [Key("policy"), Key("ports"), At(at)];
            let alone = Written {
                ports: vec![port.clone()],
                routes: Vec::new(),
                tenant: Vec::new(),
                ..policy.clone()
            };
            if let Err(error) = Policy::compile(&alone, &BTreeMap::new()) {
                self.tell(&path, error);
            }
            let Access::Locked { locks } = &port.access else { continue };
            for (lock, written) in locks.list.iter().enumerate() {
                let Lock::Basic { users: Some(users), .. } = written else { continue };
                for (user, credential) in users.iter().enumerate() {
                    if let Err(error) = Users::compile([credential]) {
                        let inner =
                            [Key("access"), Key("locks"), Key("list"), At(lock), Key("users"), At(user)];
                        self.tell(&[&path[..], &inner].concat(), error);
                    }
                }
            }
        }
        for (at, certificate) in policy.tenant.iter().enumerate() {
            if let Err(error) = Matcher::compile(certificate) {
                self.tell(&[Key("policy"), Key("tenant"), At(at)], error);
            }
        }
    }

    /// Each route, and each part of a caller, by itself.
    fn routes(&mut self, policy: &Written) {
        let mut seen = BTreeSet::new();
        for (at, route) in policy.routes.iter().enumerate() {
            let path = [Key("policy"), Key("routes"), At(at)];
            if !seen.insert(&route.name) {
                self.tell(
                    &[&path[..], &[Key("name")]].concat(),
                    format!("{:?} is taken; choose another", route.name),
                );
            }
            if !policy.ports.iter().any(|it| it.port == route.port) {
                self.tell(&[&path[..], &[Key("port")]].concat(), "it is not in policy.ports; list it there");
            }
            let before = self.faults.found.len();
            for (number, caller) in route.callers.iter().enumerate() {
                self.caller(caller, &[&path[..], &[Key("callers"), At(number)]].concat());
            }
            if self.faults.found.len() > before {
                continue;
            }
            let ports = policy.ports.iter().filter(|it| it.port == route.port).cloned().collect();
            let alone = Written { ports, routes: vec![route.clone()], tenant: Vec::new(), ..policy.clone() };
            if let Err(error) = Policy::compile(&alone, &BTreeMap::new()) {
                self.tell(&path, error);
            }
        }
    }

    fn caller(&mut self, caller: &Caller, path: &[Step<'_>]) {
        let inner = |field, at| [path, &[Key(field), At(at)]].concat();
        for (at, certificate) in caller.certificates.iter().enumerate() {
            if let Err(error) = Matcher::compile(certificate) {
                self.tell(&inner("certificates", at), error);
            }
        }
        for (at, credential) in caller.credentials.iter().enumerate() {
            if let Err(error) = Users::compile([credential]) {
                self.tell(&inner("credentials", at), error);
            }
        }
        for (at, secret) in caller.header_values.iter().enumerate() {
            if let Err(error) = Secrets::compile([secret]) {
                self.tell(&inner("headerValues", at), error);
            }
        }
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read ({error}); make it, or let the sidecar's user read it", file.display())
}
