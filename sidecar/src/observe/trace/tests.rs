use super::*;

const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn headers(lines: &[(&'static str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes());
    }
    fields
}

/// What the application would see.
fn carried(mut fields: Fields, sampling: Option<u32>) -> (Option<Trace>, Fields) {
    let trace = Trace::of(&fields, sampling);
    let carried = Carried::of(&fields, trace.as_ref());
    fields.retain(|field| !field.is_one_of(carried.dropped));
    if let Some(parent) = &carried.parent {
        fields.add(Name::Traceparent, parent.as_bytes());
    }
    (trace, fields)
}

fn text(fields: &Fields, name: Name) -> String {
    fields.values(name).map(|value| std::str::from_utf8(value).unwrap()).collect::<Vec<_>>().join(",")
}

#[test]
fn what_is_valid_goes_on_unchanged_where_nothing_is_recorded() {
    for flags in ["00", "01", "ff"] {
        let parent = format!("00-{ID}-{PARENT}-{flags}");
        let (trace, after) = carried(headers(&[("traceparent", &parent), ("tracestate", "a=1,b=2")]), None);
        assert_eq!(text(&after, Name::Traceparent), parent);
        assert_eq!(text(&after, Name::Tracestate), "a=1,b=2");
        let trace = trace.unwrap();
        assert_eq!((trace.id().as_str(), trace.is_recorded), (ID, false));
    }
    let later = format!("01-{ID}-{PARENT}-01-what-comes");
    let (trace, after) = carried(headers(&[("traceparent", &later)]), None);
    assert_eq!((trace.unwrap().id().as_str(), text(&after, Name::Traceparent)), (ID, later));
}

#[test]
fn nothing_is_begun_where_nothing_is_asked_for() {
    let (trace, after) = carried(headers(&[("tracestate", "a=1")]), None);
    assert!(trace.is_none() && after.is_empty(), "{after:?}");
}

#[test]
fn what_is_malformed_is_dropped_and_another_begun() {
    let valid = format!("00-{ID}-{PARENT}-01");
    for parent in [
        "",
        "00",
        "nonsense",
        &format!("00-{ID}-{PARENT}"),
        &format!("00-{ID}-{PARENT}-1"),
        &format!("00-{ID}-{PARENT}-01-more"),
        &format!("00-{ID}-{PARENT}-01."),
        &format!("ff-{ID}-{PARENT}-01"),
        &format!("01-{ID}-{PARENT}-01.more"),
        &format!("00-{}-{PARENT}-01", ID.to_uppercase()),
        &format!("00-{}-{PARENT}-01", "0".repeat(32)),
        &format!("00-{ID}-{}-01", "0".repeat(16)),
        &format!("00-{ID}x-{PARENT}-01"),
        &format!("00_{ID}_{PARENT}_01"),
        &format!("0x-{ID}-{PARENT}-01"),
    ] {
        for sampling in [None, Some(0), Some(1_000_000)] {
            let (trace, after) =
                carried(headers(&[("traceparent", parent), ("tracestate", "a=1")]), sampling);
            let trace = trace.unwrap();
            assert!(trace.parent.is_none() && trace.id() != ID, "{parent}: {trace:?}");
            let flags = if sampling == Some(1_000_000) { "01" } else { "00" };
            let expected = format!("00-{}-{}-{flags}", trace.id(), hex::encode(trace.span_id));
            assert_eq!(text(&after, Name::Traceparent), expected, "{parent}");
            assert!(!after.contains(Name::Tracestate), "{parent}");
            assert!(matches!(said(&after), Said::Parent { .. }), "{after:?}");
        }
    }
    let (trace, _) = carried(headers(&[("traceparent", &valid), ("traceparent", &valid)]), None);
    assert!(trace.unwrap().parent.is_none(), "two parents are none");
}

#[test]
fn a_recorded_span_is_the_applications_parent() {
    let parent = format!("00-{ID}-{PARENT}-03");
    let (trace, after) = carried(headers(&[("traceparent", &parent), ("tracestate", "a=1")]), Some(0));
    let trace = trace.unwrap();
    assert!(trace.is_recorded && hex::encode(trace.parent.unwrap()) == PARENT);
    assert_eq!(text(&after, Name::Traceparent), format!("00-{ID}-{}-03", hex::encode(trace.span_id)));
    assert_ne!(hex::encode(trace.span_id), PARENT);
    assert_eq!(text(&after, Name::Tracestate), "a=1");

    // The caller does not record, so nobody would find our span's parent.
    let parent = format!("00-{ID}-{PARENT}-00");
    let (trace, after) = carried(headers(&[("traceparent", &parent)]), Some(1_000_000));
    assert!(!trace.unwrap().is_recorded);
    assert_eq!(text(&after, Name::Traceparent), parent);
}

#[test]
fn the_share_of_recorded_requests() {
    for (ppm, least, most) in [(0, 0, 0), (100_000, 50, 160), (1_000_000, 1000, 1000)] {
        let is_recorded = |_: &u32| Trace::of(&Fields::new(), Some(ppm)).unwrap().is_recorded;
        let recorded = (0..1000).filter(is_recorded).count();
        assert!((least..=most).contains(&recorded), "{ppm} ppm: {recorded} of 1000");
    }
    assert!(is_sampled(&[0; 16], 1) && !is_sampled(&[0; 16], 0) && !is_sampled(&[0xff; 16], 999_999));
}

#[test]
fn states() {
    let parent = format!("00-{ID}-{PARENT}-01");
    let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let long = format!("k={}", "v".repeat(511));
    for (state, is_kept) in [
        ("a=1", true),
        ("a=1, b@c=x y ,,0/d=!", true),
        ("", true),
        ("a", false),
        ("A=1", false),
        ("a=", false),
        ("a=b=c", false),
        (&many, false),
        (&long, false),
    ] {
        let (_, after) = carried(headers(&[("traceparent", &parent), ("tracestate", state)]), None);
        assert_eq!(after.contains(Name::Tracestate), is_kept, "{state:?}");
        assert_eq!(text(&after, Name::Traceparent), parent, "{state:?}");
    }
}
