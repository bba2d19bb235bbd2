//! Where a connection was bound for, and so which port of the application it is about.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::authorize::{Code, Denial};
use crate::original_destination::original_destination;
use crate::own_addresses::{OwnAddresses, permitted_destination};

/// The application's side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The number by which the policy knows it.
    pub port: u16,
    /// What is dialled.
    pub address: SocketAddr,
}

/// Tells the target of an accepted connection.
pub trait Destination: Send + Sync {
    /// The target.
    ///
    /// # Errors
    /// [`Code::DestinationRefused`] if it is not one that may be dialled.
    fn of(&self, stream: &TcpStream) -> Result<Target, Denial>;
}

/// A listener that leads to one place.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Target);

impl Destination for Fixed {
    fn of(&self, _: &TcpStream) -> Result<Target, Denial> {
        Ok(self.0)
    }
}

/// The listener that all connections of a pod are redirected to.
pub struct Redirected {
    own: Arc<OwnAddresses>,
}

impl Redirected {
    /// Forwards to these addresses only.
    pub fn new(own: Arc<OwnAddresses>) -> Self {
        Self { own }
    }
}

impl Destination for Redirected {
    fn of(&self, stream: &TcpStream) -> Result<Target, Denial> {
        let refused = |reason: String| Denial::new(Code::DestinationRefused, reason);
        let original = original_destination(stream)
            .map_err(|error| refused(format!("the connection was not redirected ({error})")))?;
        let address =
            permitted_destination(original, &self.own).map_err(|error| refused(error.to_string()))?;
        Ok(Target { port: address.port(), address })
    }
}
