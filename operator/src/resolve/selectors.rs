//! Label selectors as sets of label maps, so that "can both select one pod?" is answered exactly.
//!
//! A selector restricts each key by itself; per key, what is allowed is a [`Domain`], and domains are closed
//! under intersection and complement. A label's values are practically endless, so "all but these" is never
//! empty.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use postern_crds::{LabelRequirement, PodSelector, SelectorOperator};

#[cfg(test)]
mod tests;

/// A selector that could be read. Equality is that of the text, not of the meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    source: PodSelector,
    domains: BTreeMap<String, Domain>,
}

/// A selector that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `In` or `NotIn` without values.
    #[error("the requirement on label {0} has operator In or NotIn but no values: list at least one value")]
    NoValues(String),
    /// `Exists` or `DoesNotExist` with values.
    #[error("the requirement on label {0} has operator Exists or DoesNotExist and values: leave values out")]
    NeedlessValues(String),
    /// An operator that Kubernetes doesn't have.
    #[error(
        "the requirement on label {key} has the unknown operator {operator:?}: use In, NotIn, Exists or DoesNotExist"
    )]
    UnknownOperator {
        /// The label.
        key: String,
        /// What was written.
        operator: String,
    },
}

/// What one label may be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    absent: bool,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

impl Domain {
    const fn anything() -> Self {
        Self { absent: true, values: Values::AllBut(BTreeSet::new()) }
    }

    fn of(requirement: &LabelRequirement) -> Result<Self, SelectorError> {
        use SelectorOperator as Op;
        let values: BTreeSet<String> = requirement.values.iter().cloned().collect();
        let takes_values = matches!(requirement.operator, Op::In | Op::NotIn);
        if takes_values && values.is_empty() {
            return Err(SelectorError::NoValues(requirement.key.clone()));
        }
        if !takes_values && !values.is_empty() {
            return Err(SelectorError::NeedlessValues(requirement.key.clone()));
        }
        Ok(match requirement.operator {
            Op::In => Self { absent: false, values: Values::Only(values) },
            Op::NotIn => Self { absent: true, values: Values::AllBut(values) },
            Op::Exists => Self { absent: false, values: Values::AllBut(BTreeSet::new()) },
            Op::DoesNotExist => Self { absent: true, values: Values::Only(BTreeSet::new()) },
        })
    }

    fn and(&self, other: &Self) -> Self {
        use Values::{AllBut, Only};
        let values = match (&self.values, &other.values) {
            (Only(a), Only(b)) => Only(a & b),
            (Only(a), AllBut(b)) | (AllBut(b), Only(a)) => Only(a - b),
            (AllBut(a), AllBut(b)) => AllBut(a | b),
        };
        Self { absent: self.absent && other.absent, values }
    }

    fn not(&self) -> Self {
        let values = match &self.values {
            Values::Only(set) => Values::AllBut(set.clone()),
            Values::AllBut(set) => Values::Only(set.clone()),
        };
        Self { absent: !self.absent, values }
    }

    fn empty(&self) -> bool {
        !self.absent && matches!(&self.values, Values::Only(set) if set.is_empty())
    }

    fn allows(&self, value: Option<&String>) -> bool {
        match (value, &self.values) {
            (None, _) => self.absent,
            (Some(value), Values::Only(set)) => set.contains(value),
            (Some(value), Values::AllBut(set)) => !set.contains(value),
        }
    }

    /// A value that is allowed; `None` if absence is (which is preferred).
    fn example(&self) -> Option<String> {
        if self.absent {
            return None;
        }
        match &self.values {
            Values::Only(set) => set.first().cloned(),
            Values::AllBut(set) => (0..=set.len()).map(|n| format!("postern-{n}")).find(|v| !set.contains(v)),
        }
    }
}

impl Selector {
    /// From a lock's `podSelector`.
    ///
    /// # Errors
    /// See [`SelectorError`].
    pub fn new(source: PodSelector) -> Result<Self, SelectorError> {
        let mut domains = BTreeMap::<String, Domain>::new();
        let mut restrict = |key: &str, domain: &Domain| {
            let entry = domains.entry(key.to_owned()).or_insert_with(Domain::anything);
            *entry = entry.and(domain);
        };
        for (key, value) in &source.match_labels {
            let only = Values::Only(BTreeSet::from([value.clone()]));
            restrict(key, &Domain { absent: false, values: only });
        }
        for requirement in &source.match_expressions {
            restrict(&requirement.key, &Domain::of(requirement)?);
        }
        Ok(Self { source, domains })
    }

    /// From a selector of Kubernetes' own, for example one in the gateways' declarations.
    ///
    /// # Errors
    /// See [`SelectorError`].
    pub fn from_label_selector(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let expressions = selector.match_expressions.iter().flatten().map(requirement);
        Self::new(PodSelector {
            match_labels: selector.match_labels.clone().unwrap_or_default(),
            match_expressions: expressions.collect::<Result<_, _>>()?,
        })
    }

    /// A Service's selector: each label equal to its value.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let source = PodSelector { match_labels: labels.clone(), match_expressions: Vec::new() };
        let domains = labels
            .iter()
            .map(|(key, value)| {
                let values = Values::Only(BTreeSet::from([value.clone()]));
                (key.clone(), Domain { absent: false, values })
            })
            .collect();
        Self { source, domains }
    }

    /// As it was written.
    pub fn source(&self) -> &PodSelector {
        &self.source
    }

    /// As Kubernetes writes it, requirement by requirement as it was given.
    pub fn to_label_selector(&self) -> LabelSelector {
        let expressions: Vec<_> = self
            .source
            .match_expressions
            .iter()
            .map(|requirement| LabelSelectorRequirement {
                key: requirement.key.clone(),
                operator: operator_name(requirement.operator).to_owned(),
                values: (!requirement.values.is_empty()).then(|| requirement.values.clone()),
            })
            .collect();
        LabelSelector {
            match_labels: (!self.source.match_labels.is_empty()).then(|| self.source.match_labels.clone()),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        }
    }

    /// It demands nothing, so it selects everything.
    pub fn is_empty(&self) -> bool {
        self.source.match_labels.is_empty() && self.source.match_expressions.is_empty()
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.domains.iter().all(|(key, domain)| domain.allows(labels.get(key)))
    }

    /// Whether any labels at all are selected.
    pub fn is_satisfiable(&self) -> bool {
        !self.domains.values().any(Domain::empty)
    }

    /// Whether some labels are selected by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let joint = self.domains.keys().chain(other.domains.keys());
        joint
            .collect::<BTreeSet<_>>()
            .into_iter()
            .all(|key| !self.domain(key).and(&other.domain(key)).empty())
    }

    /// Whether whatever this one selects, `other` selects too.
    pub fn implies(&self, other: &Self) -> bool {
        !self.is_satisfiable()
            || other.domains.iter().all(|(key, domain)| self.domain(key).and(&domain.not()).empty())
    }

    /// Labels that this selector selects and, if there are such, none of `others` does. `None` if it selects
    /// nothing.
    pub fn example_labels(&self, others: &[&Self]) -> Option<BTreeMap<String, String>> {
        if !self.is_satisfiable() {
            return None;
        }
        let mut budget = 10_000;
        let domains =
            avoid(self.domains.clone(), others, &mut budget).unwrap_or_else(|| self.domains.clone());
        Some(domains.iter().filter_map(|(key, domain)| Some((key.clone(), domain.example()?))).collect())
    }

    fn domain(&self, key: &str) -> Domain {
        self.domains.get(key).cloned().unwrap_or_else(Domain::anything)
    }
}

/// Narrows `domains` until none of `others` is satisfied: for each of them one key must break it. A depth-first
/// search; `budget` bounds it, since contrived selectors could make it long and the answer is a nicety.
fn avoid(
    domains: BTreeMap<String, Domain>,
    others: &[&Selector],
    budget: &mut u32,
) -> Option<BTreeMap<String, Domain>> {
    let Some((first, rest)) = others.split_first() else { return Some(domains) };
    for (key, domain) in &first.domains {
        *budget = budget.checked_sub(1)?;
        let mine = domains.get(key).cloned().unwrap_or_else(Domain::anything);
        let narrowed = mine.and(&domain.not());
        if !narrowed.empty() {
            let mut domains = domains.clone();
            domains.insert(key.clone(), narrowed);
            if let Some(found) = avoid(domains, rest, budget) {
                return Some(found);
            }
        }
    }
    None
}

fn requirement(from: &LabelSelectorRequirement) -> Result<LabelRequirement, SelectorError> {
    let operator = match from.operator.as_str() {
        "In" => SelectorOperator::In,
        "NotIn" => SelectorOperator::NotIn,
        "Exists" => SelectorOperator::Exists,
        "DoesNotExist" => SelectorOperator::DoesNotExist,
        other => {
            return Err(SelectorError::UnknownOperator { key: from.key.clone(), operator: other.to_owned() });
        }
    };
    Ok(LabelRequirement { key: from.key.clone(), operator, values: from.values.clone().unwrap_or_default() })
}

const fn operator_name(operator: SelectorOperator) -> &'static str {
    match operator {
        SelectorOperator::In => "In",
        SelectorOperator::NotIn => "NotIn",
        SelectorOperator::Exists => "Exists",
        SelectorOperator::DoesNotExist => "DoesNotExist",
    }
}
