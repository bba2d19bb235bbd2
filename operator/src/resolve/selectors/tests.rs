use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `app=a`, `app in a|b`, `app notin a|b`, `app`, `!app`, joined by `;`.
fn selector(text: &str) -> Selector {
    let mut source = PodSelector::default();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let mut push = |key: &str, operator, values: &str| {
            let values = values.split('|').filter(|v| !v.is_empty()).map(str::to_owned).collect();
            source.match_expressions.push(LabelRequirement { key: key.to_owned(), operator, values });
        };
        if let Some((key, values)) = part.split_once(" in ") {
            push(key, SelectorOperator::In, values);
        } else if let Some((key, values)) = part.split_once(" notin ") {
            push(key, SelectorOperator::NotIn, values);
        } else if let Some((key, value)) = part.split_once('=') {
            source.match_labels.insert(key.to_owned(), value.to_owned());
        } else if let Some(key) = part.strip_prefix('!') {
            push(key, SelectorOperator::DoesNotExist, "");
        } else {
            push(part, SelectorOperator::Exists, "");
        }
    }
    Selector::new(source).unwrap()
}

#[test]
fn matching_is_as_kubernetes_has_it() {
    for (text, of, expected) in [
        ("app=a", "app=a,x=y", true),
        ("app=a", "app=b", false),
        ("app=a", "", false),
        ("app in a|b", "app=b", true),
        ("app in a|b", "app=c", false),
        ("app notin a", "app=b", true),
        ("app notin a", "", true),
        ("app notin a", "app=a", false),
        ("app", "app=a", true),
        ("app", "", false),
        ("!app", "", true),
        ("!app", "app=a", false),
        ("app=a;tier in x|y", "app=a,tier=y", true),
        ("app=a;tier in x|y", "app=a", false),
        ("", "app=a", true),
    ] {
        assert_eq!(selector(text).matches(&labels(of)), expected, "{text} of {of}");
    }
}

#[test]
fn overlap_and_implication_are_exact() {
    for (a, b, overlap, implies) in [
        ("app=a", "app=a", true, true),
        ("app=a", "app=b", false, false),
        ("app=a", "tier=x", true, false),
        ("app=a;tier=x", "app=a", true, true),
        ("app=a", "app=a;tier=x", true, false),
        ("app in a|b", "app in b|c", true, false),
        ("app in a|b", "app in c|d", false, false),
        ("app in a|b", "app in a|b|c", true, true),
        ("app=a", "app notin a", false, false),
        ("app=a", "app notin b", true, true),
        ("app in a|b", "app notin a|b", false, false),
        ("app", "!app", false, false),
        ("app=a", "!app", false, false),
        ("app notin a", "!app", true, false),
        ("!app", "app notin a", true, true),
        ("app=a", "app", true, true),
        ("app", "app notin a;app notin b", true, false),
        ("app=a", "tier notin x", true, false),
        ("app in a;app in b", "app=a", false, true),
    ] {
        let (a_, b_) = (selector(a), selector(b));
        assert_eq!(a_.overlaps(&b_), overlap, "{a} overlaps {b}");
        assert_eq!(b_.overlaps(&a_), overlap, "{b} overlaps {a}");
        assert_eq!(a_.implies(&b_), implies, "{a} implies {b}");
    }
}

#[test]
fn the_example_is_selected_and_avoids_the_others_where_it_can() {
    for (text, others, expected) in [
        ("app=a", &[][..], "app=a"),
        ("app in b|c", &[], "app=b"),
        ("app in b|c", &["app=b"], "app=c"),
        ("app;tier notin x", &[], "app=postern-0"),
        ("app=a", &["tier=x"], "app=a"),
        ("app=a", &["tier notin x"], "app=a,tier=x"),
        ("app=a", &["app=a;!tier", "tier in postern-0"], "app=a,tier=postern-1"),
        ("app=a", &["app"], "app=a"),
    ] {
        let others: Vec<_> = others.iter().map(|other| selector(other)).collect();
        let example = selector(text).example_labels(&others.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(example, labels(expected), "{text}");
        assert!(selector(text).matches(&example), "{text}");
    }
    assert_eq!(selector("app in a;app in b").example_labels(&[]), None);
}

#[test]
fn a_selector_without_meaning_is_refused_by_name() {
    let make = |operator, values: &[&str]| {
        let values = values.iter().map(ToString::to_string).collect();
        let requirement = LabelRequirement { key: "app".to_owned(), operator, values };
        Selector::new(PodSelector { match_expressions: vec![requirement], ..PodSelector::default() })
    };
    let named = "app".to_owned();
    assert_eq!(make(SelectorOperator::In, &[]), Err(SelectorError::NoValues(named.clone())));
    assert_eq!(make(SelectorOperator::Exists, &["x"]), Err(SelectorError::NeedlessValues(named)));
}

#[test]
fn what_is_rendered_is_what_was_written() {
    let text = "app=a;tier in x|y;zone";
    let rendered = selector(text).to_label_selector();
    assert_eq!(Selector::from_label_selector(&rendered).unwrap(), selector(text));
}

/// Every pair of selectors of up to two requirements, against every label map of a universe that is large enough: per
/// key absence, each value that is named, and one that is not.
#[test]
fn no_pair_of_small_selectors_is_judged_wrongly() {
    let requirement = |key: &str| {
        ["", "K=x", "K in x|y", "K notin x", "K notin x|y", "K", "!K"].map(|text| text.replace('K', key))
    };
    let mut selectors = Vec::new();
    for (first, second) in [("a", "a"), ("a", "b")] {
        for one in requirement(first) {
            selectors.extend(requirement(second).map(|two| selector(&format!("{one};{two}"))));
        }
    }
    let values = [None, Some("x"), Some("y"), Some("z")];
    let mut universe = Vec::new();
    for a in values {
        for b in values {
            let labels = [("a", a), ("b", b)].into_iter();
            let labels = labels.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
            universe.push(labels.collect::<BTreeMap<_, _>>());
        }
    }
    for one in &selectors {
        let matched: Vec<_> = universe.iter().filter(|labels| one.matches(labels)).collect();
        assert_eq!(one.is_satisfiable(), !matched.is_empty(), "{one:?}");
        for two in &selectors {
            let overlap = matched.iter().any(|labels| two.matches(labels));
            let implied = matched.iter().all(|labels| two.matches(labels));
            assert_eq!(one.overlaps(two), overlap, "{one:?} overlaps {two:?}");
            assert_eq!(one.implies(two), implied, "{one:?} implies {two:?}");
            if let Some(example) = one.example_labels(&[two]) {
                assert!(
                    one.matches(&example) && (implied || !two.matches(&example)),
                    "{one:?} without {two:?}"
                );
            }
        }
    }
}
