//! What was measured: a line for each ratio, and all of it as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::proxies::Kind;
use crate::rows::{Peer, Row};

/// The numbers of one row, round by round.
pub(crate) struct Result {
    pub(crate) row: Row,
    /// Postern's own.
    pub(crate) own: Vec<f64>,
    /// The others', in the order of [`Row::peers`].
    pub(crate) others: Vec<Vec<f64>>,
}

/// Postern against one peer.
pub(crate) struct Ratio {
    pub(crate) peer: Peer,
    pub(crate) value: f64,
    pub(crate) goal: Option<f64>,
}

impl Result {
    /// The median over all rounds of what each round's ratio was.
    pub(crate) fn ratios(&self) -> Vec<Ratio> {
        let peers = self.row.peers.iter().zip(&self.others);
        let ratios = peers.filter(|(_, others)| !others.is_empty()).map(|((peer, goal), others)| {
            let rounds = self.own.iter().zip(others).map(|(own, other)| own / other).collect();
            Ratio { peer: *peer, value: median(rounds), goal: *goal }
        });
        ratios.collect()
    }

    /// Postern's own figure.
    pub(crate) fn value(&self) -> f64 {
        median(self.own.clone())
    }

    /// For people and for scripts.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Row { name, unit, peers, .. } = &self.row;
        let goal = |goal: Option<f64>| goal.map_or_else(String::new, |goal| format!(" goal {goal}"));
        let mut lines: Vec<String> = self
            .ratios()
            .iter()
            .map(|ratio| format!("ratio {name} {} {:.2}{}", ratio.peer.name(), ratio.value, goal(ratio.goal)))
            .collect();
        lines.push(format!("value {name} postern {} {unit}{}", figure(self.value()), goal(self.row.most)));
        for ((peer, _), others) in peers.iter().zip(&self.others).filter(|(_, others)| !others.is_empty()) {
            lines.push(format!("value {name} {} {} {unit}", peer.name(), figure(median(others.clone()))));
        }
        lines
    }

    pub(crate) fn json(&self) -> Value {
        let ratios = self
            .ratios()
            .into_iter()
            .map(|ratio| json!({"peer": ratio.peer.name(), "ratio": ratio.value, "goal": ratio.goal}));
        let mut rounds = json!({Kind::Postern.name(): self.own});
        for ((peer, _), others) in self.row.peers.iter().zip(&self.others) {
            if let Some(rounds) = rounds.as_object_mut() {
                rounds.insert(peer.name().to_owned(), json!(others));
            }
        }
        json!({
            "row": self.row.name, "what": self.row.what, "unit": self.row.unit, "most": self.row.most,
            "value": self.value(), "ratios": ratios.collect::<Value>(), "rounds": rounds,
        })
    }
}

/// All figures as a table of Markdown; a ratio that misses its goal is bold.
pub(crate) fn table(results: &[Result]) -> String {
    let mut text = "| row | unit | Postern | HAProxy | nginx | Envoy | ratios, and goals |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for result in results {
        let Row { name, unit, peers, most, .. } = &result.row;
        let of = |kind: Kind| {
            let at = peers.iter().position(|(peer, _)| *peer == Peer::Proxy(kind));
            let numbers = at.and_then(|at| result.others.get(at)).filter(|numbers| !numbers.is_empty());
            numbers.map_or_else(|| "–".to_owned(), |numbers| figure(median(numbers.clone())))
        };
        let mut goals: Vec<String> = result
            .ratios()
            .iter()
            .map(|ratio| {
                let peer = ratio.peer.name();
                match ratio.goal {
                    Some(goal) if ratio.value > goal => {
                        format!("{peer} **{:.2}** (goal {goal})", ratio.value)
                    }
                    Some(goal) => format!("{peer} {:.2} (goal {goal})", ratio.value),
                    None => format!("{peer} {:.2}", ratio.value),
                }
            })
            .collect();
        goals.extend(most.map(|most| format!("at most {most} {unit}")));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{name}` | {unit} | {} | {} | {} | {} | {} |",
            figure(result.value()),
            of(Kind::Haproxy),
            of(Kind::Nginx),
            of(Kind::Envoy),
            goals.join(", ")
        );
    }
    text
}

/// With as many digits as mean something.
pub(crate) fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// The one in the middle, or between the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(half), values.get(half.wrapping_sub(1))) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => f64::midpoint(*upper, *lower),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert!(median(Vec::new()).is_nan());
    }
}
