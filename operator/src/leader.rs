//! Which replica writes: a `Lease` in the operator's namespace decides.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Name of the `Lease`, in the operator's namespace.
pub const LEASE: &str = "postern-operator";

/// Seconds after which a leader that is silent may be replaced. A leader that stops in good order gives the
/// lease back, but those who wait look again only when it would have run out.
const DURATION: u64 = 15;

/// Seconds before the end at which the leader renews.
const GRACE: u64 = 10;

/// Giving the lease back may take so long.
const RESIGN: std::time::Duration = std::time::Duration::from_secs(3);

/// Why there is no leadership.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The lease cannot be read or written.
    #[error(
        "the Lease {LEASE} in namespace {namespace} cannot be used ({source}); \
         may the operator's service account get, create and patch leases there?"
    )]
    Lease {
        /// The operator's namespace.
        namespace: String,
        /// What the lease manager says.
        source: LeaseManagerError,
    },
    /// Another replica has taken over; this one must not write any more.
    #[error("the lease was lost to another replica")]
    Lost,
    /// The task that renews the lease has ended by itself.
    #[error("the lease is no longer renewed: {0}")]
    Ended(String),
}

/// This replica's candidacy. Dropping it without [`Candidate::resign`] lets the lease run out.
pub struct Candidate {
    state: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Candidate {
    /// Stands for election. `identity` tells the replicas apart (the pod's name).
    pub async fn stand(client: Client, namespace: &str, identity: &str) -> Result<Self, LeaderError> {
        let manager = LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .with_field_manager("postern-leader")
            .build()
            .await
            .map_err(|source| LeaderError::Lease { namespace: namespace.to_owned(), source })?;
        let (state, task) = manager.watch().await;
        Ok(Self { state, task })
    }

    /// Waits until this replica leads.
    pub async fn elected(&mut self) -> Result<(), LeaderError> {
        self.state
            .wait_for(|leads| *leads)
            .await
            .map(|_| ())
            .map_err(|_| LeaderError::Ended("before it was acquired".to_owned()))
    }

    /// Waits until this replica leads no more; the reason is always an error.
    pub async fn deposed(&mut self) -> LeaderError {
        match self.state.wait_for(|leads| !*leads).await {
            Ok(_) => LeaderError::Lost,
            Err(_) => LeaderError::Ended("its task has stopped".to_owned()),
        }
    }

    /// Gives the lease back, if held.
    pub async fn resign(self) {
        drop(self.state);
        let cause = match tokio::time::timeout(RESIGN, self.task).await {
            Ok(Ok(Ok(_))) => return tracing::info!("lease released"),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server does not answer".to_owned(),
        };
        tracing::warn!(cause, "lease not released; it runs out by itself");
    }
}
