use std::collections::BTreeMap;

use super::*;

fn worked() -> (Metrics, Open) {
    let metrics = Metrics::new(2);
    let [first, second] = metrics.workers.as_slice() else { panic!("two workers") };
    first.request(true, 204);
    second.request(true, 200);
    second.request(false, 403);
    metrics.control.elsewhere.denial(Code::TooManyConnections);
    second.denial(Code::ApplicationTimeout);
    first.handshake(Handshake::Refused, None);
    second.handshake(Handshake::Accepted, Some(NamedGroup::X25519MLKEM768));
    second.handshake(Handshake::Accepted, Some(NamedGroup::FFDHE2048));
    first.work(Duration::from_micros(10));
    first.work(Duration::from_micros(11));
    second.work(Duration::from_secs(2));
    let open = Open::count(first, Kind::Open);
    drop(Open::count(second, Kind::Open));
    first.bytes(Kind::Http, 3, 5);
    metrics.control.spans(Spans::Dropped, 4);
    (metrics, open)
}

#[test]
fn workers_are_summed() {
    let (metrics, open) = worked();
    let text = metrics.render().unwrap();
    for line in [
        r#"postern_sidecar_requests_total{protocol="http2",status="2xx"} 2"#,
        r#"postern_sidecar_requests_total{protocol="http1",status="4xx"} 1"#,
        r#"postern_sidecar_denials_total{code="TooManyConnections"} 1"#,
        r#"postern_sidecar_denials_total{code="ApplicationTimeout"} 1"#,
        r#"postern_sidecar_handshakes_total{result="refused",group="none"} 1"#,
        r#"postern_sidecar_handshakes_total{result="accepted",group="X25519MLKEM768"} 1"#,
        r#"postern_sidecar_handshakes_total{result="accepted",group="other"} 1"#,
        r#"postern_sidecar_request_processing_seconds_bucket{le="0.00001"} 1"#,
        r#"postern_sidecar_request_processing_seconds_bucket{le="0.000025"} 2"#,
        r#"postern_sidecar_request_processing_seconds_bucket{le="1.0"} 2"#,
        r#"postern_sidecar_request_processing_seconds_bucket{le="+Inf"} 3"#,
        "postern_sidecar_request_processing_seconds_count 3",
        "postern_sidecar_request_processing_seconds_sum 2.000021",
        r#"postern_sidecar_connections{kind="open"} 1"#,
        r#"postern_sidecar_connections_opened_total{kind="open"} 2"#,
        r#"postern_sidecar_passed_bytes_total{kind="http",direction="sent"} 5"#,
        "postern_sidecar_configuration_loaded_timestamp_seconds 0",
        "postern_sidecar_log_lines_dropped_total 0",
        r#"postern_sidecar_spans_total{result="dropped"} 4"#,
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    drop(open);
    assert!(metrics.render().unwrap().contains(r#"postern_sidecar_connections{kind="open"} 0"#));
}

/// The rules of `promtool check metrics`, and those of `OpenMetrics` for units.
#[test]
fn names_help_units_and_types_follow_the_conventions() {
    let text = worked().0.render().unwrap();
    let faults = faults(&text);
    assert!(faults.is_empty(), "{faults:#?}\n{text}");
    // The rules themselves see what they are for.
    for (wrong, fault) in [
        ("# HELP a_total T.\n# TYPE a_total counter\na_total_total 1\n", "family named _total"),
        ("# HELP a T.\n# TYPE a counter\na 1\n", "sample a of a counter"),
        ("# TYPE a gauge\na 1\n", "no help"),
        ("# HELP a_milliseconds T.\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", "not a base unit"),
        ("# HELP aB T.\n# TYPE aB gauge\naB 1\n", "not snake_case"),
        ("# HELP a_gauge T.\n# TYPE a_gauge gauge\na_gauge 1\n", "its type in its name"),
        ("# HELP a_seconds T.\n# TYPE a_seconds gauge\na_seconds 1\n", "no unit"),
        ("# HELP a T.\n# TYPE a gauge\n# UNIT a bytes\na 1\n", "does not end with its unit"),
        ("# HELP a T.\n# TYPE a gauge\na{camelCase=\"x\"} 1\n", "label camelCase"),
    ] {
        assert!(super::tests::faults(wrong).iter().any(|it| it.contains(fault)), "{wrong}: {fault}");
    }
}

/// Labels come from lists in this file, so a scrape can't grow with the traffic.
#[test]
fn cardinality_is_bounded() {
    let text = worked().0.render().unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(samples < 150 + Code::ALL.len(), "{samples} samples");
}

fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut families: BTreeMap<&str, [Option<&str>; 3]> = BTreeMap::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (Some(kind), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
                faults.push(format!("{line}: unreadable"));
                continue;
            };
            let at = ["HELP", "TYPE", "UNIT"].iter().position(|known| *known == kind);
            match at.and_then(|at| families.entry(name).or_default().get_mut(at)) {
                Some(slot) if slot.is_none() => *slot = Some(rest),
                _ => faults.push(format!("{line}: twice, or of no known kind")),
            }
        } else {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            samples.push((&line[..end], line));
        }
    }
    for (name, [help, kind, unit]) in &families {
        let mut fault = |what: &str| faults.push(format!("{name}: {what}"));
        if help.is_none_or(|help| help.trim().is_empty()) {
            fault("no help");
        }
        if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            fault("not snake_case");
        }
        if ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            fault("family named _total, _count, _sum or _bucket");
        }
        let words: Vec<&str> = name.split('_').collect();
        if words.iter().any(|word| ["counter", "gauge", "histogram", "summary"].contains(word)) {
            fault("its type in its name");
        }
        let others = ["milliseconds", "microseconds", "minutes", "hours", "days", "ms", "kilobytes", "bits"];
        if words.iter().any(|word| others.contains(word)) {
            fault("not a base unit");
        }
        let last = words.last().copied().unwrap_or_default();
        if ["seconds", "bytes", "ratio"].contains(&last) && unit.is_none() {
            fault("no unit");
        }
        if unit.is_some_and(|unit| last != unit) {
            fault("does not end with its unit");
        }
        if kind.is_none() {
            fault("no type");
        }
    }
    for (sample, line) in samples {
        let of = |suffixes: &[&str]| {
            suffixes.iter().find_map(|suffix| families.get(sample.strip_suffix(suffix)?)).and_then(|it| it[1])
        };
        let is_fine = of(&["_total"]) == Some("counter")
            || of(&[""]).is_some_and(|kind| kind == "gauge")
            || of(&["_bucket", "_count", "_sum"]) == Some("histogram");
        if !is_fine {
            let kind = families.get(sample).and_then(|it| it[1]).unwrap_or("unknown family");
            faults.push(format!("sample {sample} of a {kind} has a name of another type"));
        }
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
        for label in labels.into_iter().flat_map(|(labels, _)| labels.split(',')) {
            let name = label.split('=').next().unwrap_or_default();
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                faults.push(format!("{sample}: label {name}"));
            }
        }
    }
    faults
}
