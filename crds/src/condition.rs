//! Conditions and their reasons: stable words for programs, each with its cause and its remedy.

use std::fmt;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The object makes sense by itself and beside others.
    Accepted,
    /// Everything that it names exists and fits.
    ResolvedRefs,
    /// The API server refuses selected pods that would run without the lock; shown by a dry run.
    Armed,
    /// What was asked for has been written and taken up.
    Programmed,
    /// Whether somebody gets in past the gateways; `True` is the bad answer, and the lock may be Ready all the same.
    /// Absent: nobody whom the operator knows of.
    Bypassable,
    /// The sum of the others but [`Self::Bypassable`].
    Ready,
}

impl ConditionType {
    /// As in a condition's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Armed => "Armed",
            Self::Programmed => "Programmed",
            Self::Bypassable => "Bypassable",
            Self::Ready => "Ready",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Defines [`Reason`] once for code, docs and the reference page.
macro_rules! reasons {
    ($($name:ident [$($on:ident)*] $cause:literal => $remedy:literal;)*) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $cause] #[doc = ""] #[doc = concat!("What to do: ", $remedy)] $name,)*
        }

        impl Reason {
            /// All of them, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As in a condition's `reason`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The conditions that have it. `Ready`, as the sum, has the reason of the condition it waits for.
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self {
                    $(Self::$name => &[$(ConditionType::$on),*],)*
                }
            }

            /// What it means.
            pub const fn cause(self) -> &'static str {
                match self {
                    $(Self::$name => $cause,)*
                }
            }

            /// What to do.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)*
                }
            }
        }
    };
}

reasons! {
    Accepted [Accepted]
        "The object makes sense." => "Nothing.";
    ResolvedRefs [ResolvedRefs]
        "Everything that the object names was found and fits." => "Nothing.";
    Armed [Armed]
        "The API server refuses selected pods that would run without the lock." => "Nothing.";
    Programmed [Programmed]
        "What was asked for has been written and taken up." => "Nothing.";
    Ready [Ready]
        "All other conditions hold." => "Nothing.";
    Pending [Accepted ResolvedRefs Armed Programmed]
        "The operator has not come to this yet, or a step before it has not succeeded."
        => "Wait; if it stays, look at the other conditions and at the operator's log.";
    Conflicted [Accepted]
        "An older BackendTrust selects some of the same pods, or an older ApiRoute claims the same thing; \
         for those the older one counts."
        => "Narrow the podSelector in a new BackendTrust, or delete one of the two objects; the message names them.";
    DuplicatePort [Accepted]
        "Two entries in ports mean the same container port, one by its number and one by its name."
        => "Keep one of the two entries.";
    PortNotFound [Accepted ResolvedRefs]
        "The Service has no such port, or no selected pod declares a container port of that name."
        => "In backendRef.port write a port of the Service; in ports write a port of the container. \
            The message lists those that exist.";
    GatewayUnknown [Accepted]
        "No gateway of that name is declared."
        => "Use a declared name, or ask the administrator to add the gateway to the chart's values.";
    NamespaceNotAllowed [Accepted]
        "The gateway doesn't allow routes of this namespace, or locks can't be used in this namespace at all."
        => "Ask the administrator to widen the gateway's allowedRoutes in the chart's values, or use another namespace.";
    HostnameNotAllowed [Accepted]
        "The gateway doesn't let this namespace claim one of the hostnames."
        => "Use names that the message lists, or ask the administrator to widen the gateway's hostnames.";
    LockNotPossible [Accepted]
        "What was asked for can't be enforced: on the pods (host network, for example), in the namespace (its Pod \
         Security standard forbids the redirect), or with the port's protocol (rules, or another lock than mutual TLS, for \
         a TCP port)."
        => "Change what the message names.";
    HeaderConflict [Accepted]
        "Two locks of one door claim the same header."
        => "Give one of the two another header name; the message has it.";
    NotAcceptedByTrust [Accepted]
        "The BackendTrust doesn't let an ApiRoute let in callers of this kind."
        => "Ask whoever owns the BackendTrust to add the kind to accepts.";
    BelowFloor [Accepted]
        "The platform's administrator demands more than this lock does."
        => "Use what the message names as allowed, or ask the administrator to lower the floor in the chart's values.";
    InvalidSecret [ResolvedRefs]
        "A Secret that the object names doesn't hold what it must, or something too weak. What was valid before stays in \
         force."
        => "Correct the Secret as the message says; its change is noticed within a minute.";
    ServerNameNotCertified [ResolvedRefs]
        "The backend's certificate doesn't hold the name in backendTLS.serverName."
        => "Use a name of the Service, or add the name to the BackendTrust's server.names.";
    HostnameNotVerified [Accepted Ready]
        "The gateways verify that the backend's certificate is from the CA of the backends, and not whose it is \
         (backendTLS.verification SkipHostname). The condition is True: it is a warning."
        => "Take verification out of backendTLS, or write Full.";
    RefNotFound [ResolvedRefs]
        "A BackendTrust, a Service, a Secret or a namespace that the object names doesn't exist."
        => "Create it, or correct the name; the message has it.";
    InvalidBundle [ResolvedRefs]
        "A file of CA certificates that clientAuthorities names can't be used. What was valid before stays in force."
        => "Correct the file as the message says; its change is noticed within a minute.";
    InvalidCertificate [ResolvedRefs]
        "A certificate of a caller, or what it is to be known by, can't be used."
        => "Correct what the message names; a change of the object is noticed within a minute.";
    BackendNotGuarded [ResolvedRefs]
        "The Service also leads to pods that are not behind the lock, or to none that is."
        => "Make the Service's selector and the BackendTrust's podSelector select the same pods.";
    AdmissionNotReady [Armed]
        "The API server does not yet refuse an unguarded pod that the selector selects."
        => "Wait a second; if it stays, look whether somebody changed or deleted Postern's admission policies, \
            which the message names.";
    NotOwned [Programmed]
        "An object of the name that Postern needs exists and is not Postern's; it was left alone."
        => "Delete or rename the object that the message names.";
    WriteFailed [Programmed]
        "The API server refused to store an object: a quota, a missing namespace, another admission policy."
        => "Remove the obstacle that the message names; Postern tries again by itself.";
    PodsNotGuarded [Programmed]
        "Selected pods run without the lock, most often because they ran before it was there."
        => "Wait for the rolling restart; where the message names pods that Postern doesn't restart (updateStrategy \
            OnDelete, Jobs, bare pods, blocked evictions), delete them.";
    ForeignInterception [Programmed]
        "Another program, most often another mesh's CNI plugin, redirects inbound connections of guarded pods too, by \
         rules that were there before Postern's. What it takes first doesn't reach the lock and is dropped."
        => "Exclude the pods that the message names from the other mesh's or CNI plugin's redirect, then replace them: \
            a pod's rules are looked at when it starts.";
    PodsOutdated [Programmed]
        "Guarded pods have not yet loaded the present configuration, by their own word."
        => "Wait a few seconds; if it stays, look at the log of the container postern-sidecar of the pods that the \
            message names.";
    NoPods [Programmed]
        "No pod is selected, so nothing shows that the lock holds. Ready is then Unknown."
        => "Start the workload, or correct the podSelector (in a new BackendTrust) or the pods' labels.";
    KeyHeldByCallers [Bypassable]
        "An ApiRoute lets callers with a name in past the gateways, and the BackendTrust accepts it. The lock holds for \
         everybody else."
        => "If that is not meant, take the callers out of the ApiRoute that the message names, or Callers out of accepts.";
    Staged [Ready]
        "The lock comes in stages (rollout Staged) and still lets everybody in on its HTTP ports."
        => "Wait until every pod is behind the lock and each gateway has called with its key, from all of its replicas; \
            the message says what is missing, and when it is enforced at the latest.";
    AuditMode [Ready]
        "The lock looks on (enforcement Audit): whoever would be denied is let through."
        => "Look at whom the message and the pods' logs name; then write enforcement: Enforce, or promoteAfter.";
    TrustNotReady [Ready]
        "The key is handed out, but the lock it fits is not Ready."
        => "Look at the conditions of the BackendTrust.";
    GatewayNotReady [Ready]
        "One of the route's gateways has not been given its key or configuration."
        => "Look at the gateways' conditions in the route's status.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
