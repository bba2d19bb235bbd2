//! What a reference yields, or why it yields nothing.

use postern_crds::authorities::{DataKeyRef, DataKind};
use postern_crds::{ConditionType, Reason};

use crate::inputs::{Document, Inputs};
use crate::plan::Refusal;

/// The bytes that a reference names.
///
/// # Errors
/// A refusal that names the object and what to do. `place` begins its message, and `otherwise` says what follows.
pub fn read<'a>(
    inputs: &'a Inputs,
    reference: &DataKeyRef,
    place: &str,
    otherwise: &str,
) -> Result<&'a [u8], Refusal> {
    let named = name(inputs, reference);
    let why = match inputs.documents.get(reference) {
        Some(Document::Found(bytes)) => return Ok(bytes),
        Some(Document::Missing) | None => format!("{named} doesn't exist: create it"),
        Some(Document::NoKey) => format!("{named} has no key {}: add it", reference.key),
        Some(Document::Unreadable(why)) => {
            format!("{named} can't be read ({why}): give Postern the right to read it")
        }
    };
    let message = format!("{place}: {why}; {otherwise}, and a change is noticed within a minute");
    Err(Refusal::new(ConditionType::ResolvedRefs, Reason::RefNotFound, message))
}

/// The object, for messages: `ConfigMap shop/partner-ca`.
pub fn name(inputs: &Inputs, reference: &DataKeyRef) -> String {
    let kind = match reference.kind {
        DataKind::ConfigMap => "ConfigMap",
        DataKind::Secret => "Secret",
    };
    format!("{kind} {}/{}", inputs.key.namespace, reference.name)
}
