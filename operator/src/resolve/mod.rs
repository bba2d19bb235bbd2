//! Decisions, all of them pure: what is asked for, what exists, what follows.

pub mod selectors;
