//! Which pods are behind a lock.

#![allow(unreachable_pub, reason = "the derive KubeSchema copies each type into a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A label selector that is never empty. All of `matchLabels` and `matchExpressions` must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(
        "(has(self.matchLabels) && self.matchLabels.size() > 0) \
         || (has(self.matchExpressions) && self.matchExpressions.size() > 0)"
    ).message("an empty selector would lock every pod of the namespace: write at least one label in matchLabels, \
               or one requirement in matchExpressions"))]
pub struct PodSelector {
    /// Labels that a pod must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on a pod's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)"
    ).message("the operators In and NotIn need at least one entry in values; \
               to ask only whether the label is there, write Exists or DoesNotExist"),
    validation = Rule::new(
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0"
    ).message("the operators Exists and DoesNotExist look at the key alone: \
               leave values out, or write In or NotIn"),
)]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(schema_with = "schema::label_key")]
    pub key: String,
    /// `In` and `NotIn` compare the label's value with `values`; `Exists` and `DoesNotExist` ask only whether
    /// the label is there.
    pub operator: SelectorOperator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_values")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SelectorOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is absent.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}
