use super::*;

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(name, value.as_bytes());
    }
    fields
}

fn lines(fields: &Fields) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

#[test]
fn fields_stay_in_their_order() {
    let mut all = fields(&[("x-b", "1"), ("host", "a"), ("x-a", ""), ("te", "x"), ("host", "b")]);
    assert_eq!(lines(&all), [("x-b", "1"), ("host", "a"), ("x-a", ""), ("te", "x"), ("host", "b")]);
    assert_eq!((all.first(Name::Host), all.only(Name::Host)), (Some(&b"a"[..]), Err(Repeated)));
    assert_eq!((all.only(Name::Te), all.only(Name::Date)), (Ok(Some(&b"x"[..])), Ok(None)));
    assert_eq!((all.only_named("x-a"), all.only_named("x-c")), (Ok(Some(&b""[..])), Ok(None)));
    assert_eq!(all.only_named("host"), Err(Repeated));
    all.set(Name::Host, b"c");
    assert_eq!(lines(&all), [("x-b", "1"), ("x-a", ""), ("te", "x"), ("host", "c")]);
    all.remove(Name::Te);
    assert!(!all.contains(Name::Te) && all.contains(Name::Host) && all.first(Name::Te).is_none());
    all.retain(|field| field.value != b"1");
    assert_eq!((lines(&all), all.len()), (vec![("x-a", ""), ("host", "c")], 2));
}

#[test]
fn names_are_read_in_any_case() {
    let text = b"X-Request-ID: Abc\r\nX_a: 1";
    let mut all = Fields::of_text(text);
    assert_eq!(all.note(0..12, 14..17), (Some(Name::XRequestId), false));
    assert!(!all.has_underscores());
    assert_eq!(all.note(19..22, 24..25), (None, true));
    assert!(all.has_underscores());
    assert_eq!(lines(&all), [("x-request-id", "Abc"), ("x_a", "1")]);
}

#[test]
fn what_one_head_held_is_not_seen_in_the_next() {
    drop(fields(&[("authorization", "Basic secret")]));
    SPARE.with_borrow(|spare| {
        let (text, list) = spare.last().unwrap();
        assert!(list.is_empty() && !text.is_empty() && text.iter().all(|byte| *byte == 0), "{text:?}");
    });
    let next = Fields::new();
    assert!(next.is_empty() && next.text.is_empty() && !next.contains(Name::Authorization));
    assert!(next.text.capacity() > 0, "the room is the same");
}

#[test]
fn as_a_map_and_back() {
    let mut map = HeaderMap::new();
    map.append("x-a", HeaderValue::from_static("1"));
    map.append("cookie", HeaderValue::from_static("a"));
    map.append("cookie", HeaderValue::from_bytes(b"\xe9").unwrap());
    let all = Fields::of_map(&map);
    assert_eq!((all.len(), all.values(Name::Cookie).count()), (3, 2));
    assert_eq!(all.into_map().unwrap(), map);
    assert_eq!(fields(&[("a b", "1")]).into_map().unwrap_err(), Invalid);
    assert_eq!(fields(&[("a", "\n")]).into_map().unwrap_err(), Invalid);
}
