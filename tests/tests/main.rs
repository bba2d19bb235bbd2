//! Tests on real pods.
