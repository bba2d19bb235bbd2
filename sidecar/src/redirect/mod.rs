//! Closes the network namespace.
